"""Bounds what connections cost before there is a request: how many there are, and how slowly a head may come."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import StreamReader, web


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What connections may cost.

    Attributes:
      most: connections at the same time; one more is told 503.
      head: seconds from the first byte of a request to the end of its headers.
      idle: seconds that a connection may wait for its next request.
      stalled: seconds in which a client must take some of its answer.
      answer: seconds in which it must have taken all of it.
    """

    most: int = 1000
    head: float = 15.0
    idle: float = 75.0
    stalled: float = 15.0
    answer: float = 300.0


def _raw_answer(status: str, message: str) -> bytes:
    """An answer for a client that has sent no whole request."""
    body = f'{{\n    "error": "{message}"\n}}'
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        f"\r\n{body}"
    ).encode()


_TOO_MANY = _raw_answer("503 Service Unavailable", "the server has too many connections; try again")
_TOO_SLOW = _raw_answer("408 Request Timeout", "the request came too slowly")
_ENDED = _raw_answer("400 Bad Request", "the request ended before its headers did")


_A_MOMENT = 0.1  # seconds


class ConnectionGuards:
    """Makes a guard for every connection, and finds it again by its transport."""

    def __init__(self, limits: ConnectionLimits, protocol: Callable[[], asyncio.Protocol]) -> None:
        self.limits = limits
        self.open: dict[Any, ConnectionGuard] = {}
        self._protocol = protocol

    def __call__(self) -> ConnectionGuard:
        """For `loop.create_server`."""
        return ConnectionGuard(self, self._protocol())

    def busy(self, request: web.BaseRequest) -> None:
        """The head of a request is complete; its handler takes over."""
        guard = self.open.get(request.transport)
        if guard is not None:
            guard.handle(request.content)

    def answered(self, transport: Any) -> ConnectionEnd:
        """The request is answered; says whether another one may follow."""
        guard = self.open.get(transport)
        return guard.rest() if guard is not None else ConnectionEnd.NOW


class ConnectionEnd(enum.Enum):
    """When a connection ends: now, or some time after the requests to come."""

    NOW = enum.auto()
    LATER = enum.auto()


class ConnectionGuard(asyncio.Protocol):
    """Stands between a connection and the protocol that speaks HTTP."""

    def __init__(self, guards: ConnectionGuards, protocol: asyncio.Protocol) -> None:
        self._guards = guards
        self._protocol = protocol
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._body: StreamReader | None = None  # of the request that is being handled
        self._head_under_way = False
        self._ended = False
        self._refused = False

    def handle(self, body: StreamReader) -> None:
        """A handler is at work: its own limits of time count."""
        self._body = body
        self._head_under_way = False
        self._set_timer(None)
        if self._ended:
            self._end_body(body)

    def rest(self) -> ConnectionEnd:
        """Nothing is asked at the moment."""
        self._body = None
        self._set_timer(self._guards.limits.idle)
        return ConnectionEnd.NOW if self._ended else ConnectionEnd.LATER

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._head_under_way:
            self._transport.write(_ENDED if self._ended else _TOO_SLOW)
        self._transport.close()
        # Closing waits for what is still to be sent, and this client may never read it.
        asyncio.get_running_loop().call_later(_A_MOMENT, self._transport.abort)

    @staticmethod
    def _end_body(body: StreamReader) -> None:
        """No more of it will come: whoever waits for the rest is told."""
        if not body.is_eof():
            body.set_exception(ConnectionResetError("it ended early"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport
        if len(self._guards.open) >= self._guards.limits.most:
            self._refused = True
            self._transport.write(_TOO_MANY)
            self._transport.close()
            return
        self._guards.open[transport] = self
        self._set_timer(self._guards.limits.head)
        self._protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._refused:
            return
        if self._body is None and not self._head_under_way:
            self._head_under_way = True
            self._set_timer(self._guards.limits.head)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """The client sends no more, and may still listen; see `asyncio.Protocol`."""
        if self._refused:
            return None
        self._ended = True
        if self._body is not None:
            self._end_body(self._body)
        elif self._head_under_way:
            # A handler may be about to start: its request may have come just before this.
            self._set_timer(_A_MOMENT)
        else:
            return None
        return True  # the answer is still to come

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if not self._refused:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if not self._refused:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._refused:
            self._guards.open.pop(self._transport, None)
            self._protocol.connection_lost(exc)
