"""Clients that ask for much and read nothing: they cost nobody else anything, and are cut off."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from types import SimpleNamespace

import numpy as np
import pytest

from serving_config.local_server.connection_guard import ConnectionLimits
from serving_config.local_server.rest_api import Reply
from serving_config.local_server.rest_door import RestDoor
from tests.serving_config.local_server.support import ROW
from tests.waiting import until

LARGE = b"x" * 16 * 2**20  # more than the buffers of a connection


@pytest.fixture
def door():
    api = SimpleNamespace(answer=lambda _method, path, _body: Reply(200, LARGE if "large" in path else b"{}"))
    door = RestDoor(api, threads=2, connection_limits=ConnectionLimits(stalled=1.5, answer=3.0, idle=0.5))
    yield SimpleNamespace(port=door.start("127.0.0.1", 0), inside=door)
    door.stop(1.0)


def connect(port, buffer=4096):
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    return connection


def ask(port, path, buffer=4096):
    connection = connect(port, buffer)
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    return connection


def received(connection, *, pause=0.0):
    """How many bytes come before the connection ends."""
    total = 0
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(2**20):
            total += len(data)
            time.sleep(pause)
    return total


def test_a_client_that_reads_nothing_is_cut_off_and_holds_no_thread(door):
    with contextlib.ExitStack() as stack:
        unread = [stack.enter_context(ask(door.port, b"/v1/large")) for _ in range(8)]
        until(lambda: len(door.inside._guards.open) == 8)
        with ask(door.port, b"/v1/small") as good:  # two threads, eight answers that are stuck
            assert good.recv(1000).startswith(b"HTTP/1.1 200")
        assert len(door.inside._guards.open) >= 8  # it waited for none of them
        until(lambda: not door.inside._guards.open)
        assert not door.inside._under_way
        assert received(unread[0]) < len(LARGE)


def test_a_client_that_reads_slowly_but_steadily_gets_all_of_it(door):
    with ask(door.port, b"/v1/large", buffer=0) as slow:
        assert received(slow, pause=0.01) > len(LARGE)


def test_a_client_that_drips_does_not_drip_for_ever(door):
    taken = 0
    with ask(door.port, b"/v1/large") as dripping, contextlib.suppress(ConnectionError):
        taken += len(dripping.recv(10_000))
        while door.inside._guards.open:  # all of it would take more than a minute
            taken += len(dripping.recv(10_000))
            time.sleep(0.05)
    assert 10_000 < taken < len(LARGE)


def test_unread_small_answers_end_with_the_connection(door):
    with connect(door.port) as connection:
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError, ConnectionError):  # requests are sent until nothing more goes through
            while True:
                connection.sendall(b"GET /v1/small HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        until(lambda: not door.inside._guards.open)


def test_a_small_request_does_not_wait_for_large_ones(small):
    rows = np.random.default_rng(1).normal(size=(20_000, 3))
    body = json.dumps({"instances": [{"x": row[:2].tolist(), "conditional_input": row[2:].tolist()} for row in rows]})
    head = b"POST /v1/models/small:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with contextlib.ExitStack() as stack:
        unread = [stack.enter_context(connect(small.server.rest_api_port)) for _ in range(16)]
        for connection in unread:
            connection.sendall(head + body.encode())
        until(lambda: small.server._rest._bodies._held >= 12 * len(body))
        assert small.post("/v1/models/small:predict", {"instances": [ROW]}).status == 200
        answered, _, _ = select.select(unread, [], [], 0)
        assert len(answered) <= 4
        until(lambda: len(select.select(unread, [], [], 0)[0]) == 16)
