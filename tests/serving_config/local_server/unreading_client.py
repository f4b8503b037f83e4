"""A gRPC client on a bare socket, to do what gRPC's own never would: ask, and take nothing of the answer."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING = 0, 1, 3, 4, 6
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_HEADER = struct.Struct(">HBBBI")  # upper 16 bits of the length, its lower 8, type, flags, stream


class UnreadingClient:
    """Sends one Predict. The answer stays where it is: its window is never opened further.

    With `answers_pings` it reads the socket and keeps the connection alive; without, it reads nothing at all.
    """

    def __init__(self, port: int, request: Any, *, answers_pings: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        body = request.SerializeToString()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/tensorflow.serving.PredictionService/Predict",
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
        message = struct.pack(">BI", 0, len(body)) + body
        self.socket.sendall(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, b"")
            + _frame(_HEADERS, _END_HEADERS, 1, block)
            + _frame(_DATA, _END_STREAM, 1, message)
        )
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._answer_pings) if answers_pings else None
        if self._thread is not None:
            self._thread.start()

    def __enter__(self) -> UnreadingClient:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        if self._thread is not None:
            self._thread.join()

    def is_cut_off(self) -> bool:
        """Whether the server has ended the connection; what is in the buffers is lost."""
        self.socket.settimeout(0)
        try:
            while self.socket.recv(2**16):
                pass
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        return True

    def _answer_pings(self) -> None:
        with contextlib.suppress(OSError), self.socket.makefile("rb") as stream:
            while header := stream.read(9):
                high, low, kind, flags, number = _HEADER.unpack(header)
                content = stream.read(high << 8 | low)
                if kind in {_PING, _SETTINGS} and not flags & _ACK:
                    self.socket.sendall(_frame(kind, _ACK, 0, content if kind == _PING else b""))
                if kind == _RST_STREAM and number == 1:
                    break
        self.ended.set()


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return _HEADER.pack(len(content) >> 8, len(content) & 0xFF, kind, flags, stream) + content


def _text(text: str) -> bytes:
    """A literal of HPACK, shorter than 127 bytes, not compressed."""
    return bytes([len(text)]) + text.encode()
