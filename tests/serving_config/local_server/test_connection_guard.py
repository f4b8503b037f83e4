"""How many connections, and how slow a head: with limits short enough for a test."""

from __future__ import annotations

import contextlib
import socket
import time
from types import SimpleNamespace

import pytest

from serving_config.local_server.connection_guard import ConnectionLimits
from serving_config.local_server.rest_api import Reply
from serving_config.local_server.rest_door import RestDoor

REQUEST = b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def port():
    api = SimpleNamespace(answer=lambda _method, _path, _body: Reply(200, b"{}"))
    door = RestDoor(api, threads=2, connection_limits=ConnectionLimits(most=3, head=0.3, idle=1.0))
    yield door.start("127.0.0.1", 0)
    door.stop(1.0)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def await_close(connection):
    """Returns when the server closes the connection; the connection's own timeout is raised if it does not."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(1000):
            pass


def test_a_connection_that_says_nothing_is_closed(port):
    with connect(port) as connection:
        await_close(connection)


@pytest.mark.parametrize("sent", [b"GET / HT", b"GET / HTTP/1.1\r\nA: "])
def test_a_head_that_does_not_come_is_given_up(port, sent):
    with connect(port) as connection:
        connection.sendall(sent)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
        await_close(connection)


def test_a_client_that_sends_no_more_gets_its_answer(port):
    for sent, status in (
        (REQUEST, 200),
        (REQUEST[:-3], 400),
        (b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", 400),
    ):
        with connect(port) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1000).startswith(b"HTTP/1.1 %d" % status)
            await_close(connection)


def test_a_head_that_drips_is_given_up(port):
    with connect(port) as connection:
        with contextlib.suppress(ConnectionError):
            for byte in REQUEST[:10]:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_an_idle_connection_may_wait_for_its_next_request(port):
    with connect(port) as connection:
        for _ in range(3):
            connection.sendall(REQUEST)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            time.sleep(0.5)
        await_close(connection)


def test_one_connection_too_many_is_told_so(port):
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(port))
        time.sleep(0.1)
        with connect(port) as refused:
            answer = refused.recv(1000)
            assert answer.startswith(b"HTTP/1.1 503")
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b"Content-Length: %d" % len(body) in head
    time.sleep(0.1)
    with connect(port) as again:
        again.sendall(REQUEST)
        assert again.recv(1000).startswith(b"HTTP/1.1 200")
