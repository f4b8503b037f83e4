"""Sends the bodies of answers, as fast as each client takes them and no longer than it may take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from serving_config.local_server.connection_guard import ConnectionLimits
    from serving_config.local_server.rest_api import Reply

_PIECE = 2**17  # bytes that are handed to the connection at once


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
