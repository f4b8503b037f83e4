"""The HTTP server: aiohttp on an event loop of its own thread, with limits, TLS and a graceful end.

Bodies of requests are read within limits of size, time and memory; answers are sent as fast as each client takes them,
and no longer than it may take.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import threading
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion10, HttpVersion11, web

from serving_config.errors import StartError, UsageError
from serving_config.local_server.connection_guard import ConnectionEnd, ConnectionGuards, ConnectionLimits
from serving_config.local_server.rest_api import Reply, RestApi, error_reply, is_api

if TYPE_CHECKING:
    from serving_config.local_server.tls import TlsConfig

_NOT_FOUND = Reply(
    404,
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n",
    "text/html",
)
_PIECE = 2**17  # bytes that are handed to the connection at once
_ALWAYS_TAKEN = 2**16  # bytes of a body, whatever others hold


class RestDoor:
    """An HTTP server on one port."""

    def __init__(
        self,
        api: RestApi,
        *,
        threads: int,
        tls: TlsConfig | None = None,
        body_limits: BodyLimits | None = None,
        connection_limits: ConnectionLimits | None = None,
        metrics_page: tuple[str, Callable[[], str]] | None = None,
    ) -> None:
        """Listens to nothing yet.

        Args:
          api: answers.
          threads: requests that are answered at the same time.
          tls: certificates, for HTTPS.
          body_limits: what bodies may cost.
          connection_limits: what connections may cost.
          metrics_page: path and text of the page for Prometheus.
        """
        self._api = api
        self._tls = tls
        self._metrics_page = metrics_page
        self._connection_limits = connection_limits or ConnectionLimits()
        self._bodies = BodyReader(body_limits or BodyLimits())
        self._answers = AnswerWriter(self._connection_limits)
        self._pool = futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rest")
        # Threads share one interpreter: large requests wait for each other, so that small ones do not wait for them.
        few = max(1, threads // 4)
        self._pool_of_large = futures.ThreadPoolExecutor(max_workers=few, thread_name_prefix="rest-large")
        self._thread: threading.Thread | None = None
        self._listener: asyncio.Server | None = None
        self._http: web.Server | None = None
        self._guards: ConnectionGuards | None = None
        self._under_way = 0

    def start(self, host: str, port: int) -> int:
        """Listens, and returns the port: the one asked for, or a free one for 0.

        Raises:
          StartError: if the port is taken.
        """
        context = self._tls.context() if self._tls is not None else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._thread.start()
        try:
            bound: int = self._in_loop(self._listen(host, port, context))
        except OSError as error:
            self._end()
            raise StartError(
                f"cannot listen for REST on {host}:{port}: {error.strerror or error}; name another port with "
                "--rest_api_port, or 0 for none"
            ) from error
        return bound

    def stop(self, grace: float) -> None:
        """Takes no new connection; returns when requests under way are answered, after `grace` seconds at most."""
        if self._thread is not None:
            self._in_loop(self._close(grace))
            self._end()

    def _end(self) -> None:
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._thread = None
        for pool in (self._pool, self._pool_of_large):
            pool.shutdown(wait=False, cancel_futures=True)

    def _in_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self, host: str, port: int, context: Any) -> int:
        self._http = web.Server(
            self._handle,
            access_log=None,
            logger=_QUIET,
            keepalive_timeout=self._connection_limits.idle,
            lingering_time=2.0,
        )
        self._guards = ConnectionGuards(self._connection_limits, self._http)
        handshake = None if context is None else self._connection_limits.head
        self._listener = await self._loop.create_server(
            self._guards, host, port, ssl=context, backlog=1024, ssl_handshake_timeout=handshake
        )
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def _close(self, grace: float) -> None:
        if self._listener is None or self._http is None:
            return
        self._listener.close()
        deadline = self._loop.time() + grace
        while self._under_way and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        await self._http.shutdown(1.0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._guards is not None:
            self._guards.busy(request)
        self._under_way += 1
        try:
            reply = await self._reply(request)
            self._bodies.hold(reply.body)
            try:
                response = await self._answers.write(request, reply)
            finally:
                self._bodies.release(reply.body)
        finally:
            self._under_way -= 1
            end = self._guards.answered(request.transport) if self._guards is not None else ConnectionEnd.NOW
        if reply.status in _CLOSING or end is ConnectionEnd.NOW:
            response.force_close()
        return response

    async def _reply(self, request: web.BaseRequest) -> Reply:
        claimed = request._message.version
        if claimed not in _VERSIONS:
            request._version = HttpVersion11  # the answer would claim it too
            return error_reply(505, f"HTTP {claimed.major}.{claimed.minor} is not spoken on this port; use HTTP 1.1")
        path = _ORIGIN.sub("", request.raw_path.partition("?")[0].partition("#")[0])
        if self._metrics_page is not None and path == self._metrics_page[0]:
            return Reply(200, self._metrics_page[1]().encode(), "text/plain")
        if not is_api(path):
            return _NOT_FOUND
        try:
            body = await self._bodies.read(request)
        except BodyError as error:
            return error_reply(error.status, str(error))
        try:
            pool = self._pool_of_large if len(body) > _LARGE else self._pool
            return await self._loop.run_in_executor(pool, self._api.answer, request.method, path, body)
        finally:
            self._bodies.release(body)


_LARGE = 2**18  # bytes of a body whose JSON takes a while


_VERSIONS = (HttpVersion10, HttpVersion11)


_ORIGIN = re.compile(r"(?i)^https?://[^/]*")  # proxies, and clients that think they speak to one, send whole URLs


_CLOSING = (408, 413, 429, 505)  # the rest of the body may still be on its way


def _quiet_logger() -> logging.Logger:
    """The library logs the traceback of every malformed request: its client is told already."""
    quiet = logging.getLogger(f"{__name__}.http")
    quiet.setLevel(logging.CRITICAL)
    return quiet


_QUIET = _quiet_logger()


class AnswerWriter:
    """Writes answers; a client that does not read its own is cut off."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits

    async def write(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        """The response; a large body is on its way to the client when this returns, or the connection is gone."""
        headers = {"Content-Type": reply.content_type}
        if len(reply.body) <= _PIECE:
            return web.Response(status=reply.status, body=reply.body, headers=headers)
        response = web.StreamResponse(status=reply.status, headers=headers)
        response.content_length = len(reply.body)
        try:
            await self._write(request, response, memoryview(reply.body))
        except (asyncio.TimeoutError, ConnectionError):  # the first is another class than TimeoutError in Python 3.10
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _write(self, request: web.BaseRequest, response: web.StreamResponse, body: memoryview) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.answer
        await response.prepare(request)
        for start in range(0, len(body), _PIECE):
            left = min(self._limits.stalled, deadline - loop.time())
            # A piece is written when the ones before it are as good as sent: only so much is held for a connection.
            await asyncio.wait_for(response.write(body[start : start + _PIECE]), max(left, 0.0))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """What a body may cost.

    Attributes:
      largest: bytes of one body, after decompression.
      together: bytes of all bodies and answers that are held; a body that would be too much is refused.
      pause: seconds between two pieces of a body.
      total: seconds for all of a body.
    """

    largest: int = 256 * 2**20
    together: int = 2**30
    pause: float = 15.0
    total: float = 300.0

    def __post_init__(self) -> None:
        if self.largest < 1:
            raise UsageError(f"--rest_api_max_body_bytes is {self.largest}; expected at least 1")


class BodyError(Exception):
    """The body cannot be taken; `status` and message are the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BodyReader:
    """Reads the bodies of all requests of a server; for one event loop."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._held = 0

    async def read(self, request: web.BaseRequest) -> bytes:
        """The body, which counts as held until `release`.

        Raises:
          BodyError: if it is too large, too slow, or no HTTP.
        """
        if (request.content_length or 0) > self._limits.largest:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        deadline = asyncio.get_running_loop().time() + self._limits.total
        try:
            while piece := await self._piece(request, deadline):
                size += len(piece)
                self._held += len(piece)
                pieces.append(piece)
                self._check(size)
        except BaseException:
            self._held -= size
            raise
        return b"".join(pieces)

    def hold(self, answer: bytes) -> None:
        """An answer waits for its client to read it, until `release`."""
        self._held += len(answer)

    def release(self, body: bytes) -> None:
        """The request is answered, or the answer is sent."""
        self._held -= len(body)

    def _check(self, size: int) -> None:
        if size > self._limits.largest:
            raise self._too_large()
        if self._held > self._limits.together and size > _ALWAYS_TAKEN:
            raise BodyError(429, "the server holds too many request bodies; try again")

    async def _piece(self, request: web.BaseRequest, deadline: float) -> bytes:
        left = min(deadline - asyncio.get_running_loop().time(), self._limits.pause)
        try:
            return await asyncio.wait_for(request.content.readany(), max(left, 0.0))
        except asyncio.TimeoutError as error:  # another class than TimeoutError in Python 3.10
            raise BodyError(408, "the request body came too slowly") from error
        except Exception as error:  # whatever a body makes the parsers of chunks and compressed data raise
            raise BodyError(400, f"the request body cannot be read: {error}") from error

    def _too_large(self) -> BodyError:
        return BodyError(
            413,
            f"the request body is larger than {self._limits.largest} bytes; send fewer rows at once, or start the "
            "server with a larger --rest_api_max_body_bytes",
        )
