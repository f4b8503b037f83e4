"""Clients that go on asking, and remember what went wrong."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.serving_config.local_server.support import ROW, Running, predict_request


class Load:
    """What the clients have been told."""

    def __init__(self) -> None:
        self.answers: set[float] = set()
        self.failures: list[str] = []
        self.count = 0
        self.stop = threading.Event()

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(3000):
            if condition():
                return
            self.stop.wait(0.01)
        raise AssertionError("it did not happen in 30 seconds")


@contextlib.contextmanager
def load(server: Running, path: str = "/v1/models/small:predict", **spec: Any) -> Iterator[Load]:
    """Four clients, two of each door, while the block is open; nothing may fail."""
    found = Load()

    def rest() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.server.rest_api_port, timeout=30)
        with contextlib.closing(connection):
            while not found.stop.is_set():
                connection.request("POST", path, json.dumps({"instances": [ROW]}))
                response = connection.getresponse()
                body = response.read()
                if response.status == 200:
                    found.answers.add(json.loads(body)["predictions"][0])
                else:
                    found.failures.append(body.decode())
                found.count += 1

    def grpc() -> None:
        request = predict_request(**spec)
        while not found.stop.is_set():
            found.answers.add(server.prediction.Predict(request, timeout=30).outputs["log_prob"].float_val[0])
            found.count += 1

    def guarded(ask: Callable[[], None]) -> None:
        try:
            ask()
        except Exception as error:  # noqa: BLE001  # the test reports it
            found.failures.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(ask,)) for ask in (rest, rest, grpc, grpc)]
    for thread in threads:
        thread.start()
    try:
        found.until(lambda: found.count > 20 or bool(found.failures))
        yield found
    finally:
        found.stop.set()
        for thread in threads:
            thread.join()
    assert not found.failures
