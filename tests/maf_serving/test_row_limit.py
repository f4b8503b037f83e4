"""A server's limit on the rows of a request, learnt from its refusals."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from maf_serving.errors import InvalidArgumentError, UnavailableError
from maf_serving.row_limit import RowLimit


class Server:
    """Takes so many rows of a request."""

    def __init__(self, most):
        self.most = most
        self.sizes = []

    def __call__(self, rows):
        size = rows.stop - rows.start
        self.sizes.append(size)
        if size > self.most:
            raise InvalidArgumentError(
                f"host:1: INVALID_ARGUMENT: Task size {size} is larger than maximum input batch size {self.most}"
            )
        return range(rows.start, rows.stop)


def joined(parts):
    return [row for part in parts for row in part]


def test_the_limit_of_a_refusal_is_kept():
    server = Server(1000)
    limit = RowLimit(4096)
    assert joined(limit.in_parts(server, slice(0, 5000))) == list(range(5000))
    assert server.sizes == [4096, 1000, 1000, 1000, 1000, 1000]
    assert limit.most == 1000
    server.sizes.clear()
    assert joined(limit.in_parts(server, slice(10, 1500))) == list(range(10, 1500))
    assert server.sizes == [1000, 490]


def test_a_limit_may_fall_again():
    server, limit = Server(7), RowLimit(10)
    limit.in_parts(server, slice(0, 10))
    server.most = 1
    assert joined(limit.in_parts(server, slice(0, 3))) == [0, 1, 2]
    assert limit.most == 1


def test_no_rows_are_no_request():
    server = Server(7)
    assert RowLimit(10).in_parts(server, slice(5, 5)) == []
    assert not server.sizes


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgumentError("x has shape [2]"),
        InvalidArgumentError("Task size 3 is larger than maximum input batch size 0"),  # nothing could be sent
        InvalidArgumentError("Task size 3 is larger than maximum input batch size 3"),  # sent again for ever
        UnavailableError("Task size 3 is larger than maximum input batch size 2"),
    ],
)
def test_what_is_no_refusal_for_size_is_raised(error):
    def send(_rows):
        raise error

    with pytest.raises(type(error)) as caught:
        RowLimit(10).in_parts(send, slice(0, 3))
    assert caught.value is error


def test_threads_learn_from_each_other():
    server = Server(5)
    limit = RowLimit(100)
    gate = threading.Barrier(4, timeout=10)

    def call(first):
        gate.wait()
        time.sleep(first / 5e4)
        return joined(limit.in_parts(server, slice(first, first + 50)))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, range(0, 200, 50))) == [list(range(n, n + 50)) for n in range(0, 200, 50)]
    assert limit.most == 5
    assert len([size for size in server.sizes if size > 5]) <= 4
