"""What is no request, or comes too slowly or too large: always an error answer, and good requests go on."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket

import pytest

from serving_config.local_server.model_config import ModelConfig
from serving_config.local_server.rest_door import BodyLimits
from tests.serving_config.local_server.load import load
from tests.serving_config.local_server.support import ROW
from tests.waiting import until

PREDICT = "/v1/models/small:predict"
BODY = json.dumps({"instances": [ROW]}).encode()
HEAD = b"POST /v1/models/small:predict HTTP/1.1\r\nHost: x\r\n"


def talk(port, data, *, wait=5.0):
    """What comes back for raw bytes, until the server has nothing more to say."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                received += piece
        return received


def hostile(rng):
    """One thing that a client should not send."""
    noise = rng.randbytes(rng.randrange(1, 300))
    cut = BODY[: rng.randrange(len(BODY))]
    mutated = bytearray(BODY)
    for _ in range(rng.randrange(1, 5)):
        mutated[rng.randrange(len(mutated))] = rng.randrange(256)
    length = b"Content-Length: %d\r\n\r\n"
    return rng.choice(
        [
            noise,
            HEAD + noise,
            HEAD + length % len(noise) + noise,
            HEAD + length % len(cut) + cut,
            HEAD + length % len(mutated) + bytes(mutated),
            HEAD + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY,
            HEAD + b"Content-Length: -1\r\n\r\n" + BODY,
            HEAD + length % (len(BODY) + 10) + BODY,
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + noise,
            HEAD + b"Content-Encoding: gzip\r\n" + length % len(noise) + noise,
            HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
            b"GET /" + noise.replace(b"\r", b"").replace(b"\n", b"") + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + noise,
            b"\x16\x03\x01" + noise,
        ]
    )


def test_malformed_requests_are_answered_and_good_ones_go_on(small):
    rng = random.Random(5)  # noqa: S311
    with load(small) as found:
        for number in range(300):
            port = small.server.rest_api_port if number % 5 else small.server.port
            sent = hostile(rng)
            received = talk(port, sent)
            if number % 5:
                assert received.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), sent
                assert not received.startswith(b"HTTP/1.1 500"), (sent, received)
    assert found.answers == {1.0}


def test_a_head_that_is_no_http_is_told_so(small):
    assert talk(small.server.rest_api_port, b"nonsense\r\n\r\n").partition(b" ")[2].startswith(b"400")


@pytest.fixture
def strict(serve, base):
    return serve(
        ModelConfig(name="small", base_path=str(base)),
        body_limits=BodyLimits(largest=10_000, pause=0.3, total=1.0),
    )


def test_a_large_body_is_refused_with_what_to_do(strict):
    for head in (b"Content-Length: 10001\r\n\r\n" + b" " * 10_001, b"Transfer-Encoding: chunked\r\n\r\n"):
        chunks = b"2711\r\n" + b" " * 10_001 + b"\r\n0\r\n\r\n" if b"chunked" in head else b""
        received = talk(strict.server.rest_api_port, HEAD + head + chunks)
        assert received.startswith(b"HTTP/1.1 413")
        assert b"larger than 10000 bytes; send fewer rows at once" in received
    assert strict.post(PREDICT, BODY).status == 200


def test_a_bomb_counts_as_what_it_unpacks_to(strict):
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < 10_000
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    assert talk(strict.server.rest_api_port, HEAD + head + bomb).startswith(b"HTTP/1.1 413")
    packed = gzip.compress(BODY)
    head = b"Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert talk(strict.server.rest_api_port, HEAD + head + packed).startswith(b"HTTP/1.1 200")


def test_a_slow_body_is_given_up(strict):
    with socket.create_connection(("127.0.0.1", strict.server.rest_api_port), timeout=30) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
    assert strict.post(PREDICT, BODY).status == 200


def test_cut_connections_leave_nothing_behind(strict):
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", strict.server.rest_api_port), timeout=30) as connection:
            connection.sendall(HEAD + b"Content-Length: 5000\r\n\r\n" + b" " * 4000)
    bodies = strict.server._rest._bodies
    until(lambda: not bodies._held)
    assert strict.post(PREDICT, BODY).status == 200


@pytest.mark.parametrize("version", [b"0.9", b"2.0"])
def test_another_version_of_http_is_refused_in_one_that_clients_read(small, version):
    received = talk(small.server.rest_api_port, b"GET /v1/models/small HTTP/" + version + b"\r\nHost: x\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 505 ")
    assert b"HTTP " + version + b" is not spoken" in received


def test_a_whole_url_is_as_good_as_its_path(small):
    received = talk(small.server.rest_api_port, b"GET http://x:1/v1/models/small HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 ")
