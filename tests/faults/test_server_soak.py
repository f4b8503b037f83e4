"""The local server for minutes: good and bad traffic at once, versions that come and go, and memory that stays.

FAULTS_MINUTES says how long; by default one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.faults.conftest import ENV, ROOT
from tests.serving_config.local_server.conftest import publish, saved_versions  # noqa: F401  # fixtures
from tests.serving_config.local_server.support import ROW, ask
from tests.serving_config.local_server.test_hostile import hostile, talk
from tests.serving_config.served_flow import await_model, free_ports, stop

MINUTES = float(os.environ.get("FAULTS_MINUTES", "1"))
PREDICT = "/v1/models/small:predict"
BODY = json.dumps({"instances": [ROW] * 16})
MOST_GROWTH = 48 * 2**20  # bytes of memory, of what is in use after the first quarter

pytestmark = pytest.mark.faults


def memory(process):
    """Bytes that a process holds."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(process):
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


@pytest.fixture
def server(publish, tmp_path):  # noqa: F811  # the fixture
    base = tmp_path / "small"
    base.mkdir()
    publish(base, 1)
    port, rest = free_ports(2)
    flags = ["--backend", "local", "--model_base", str(base), "--model_name", "small", "--port", str(port)]
    flags += ["--rest_api_port", str(rest), "--file_system_poll_wait_seconds", "1", "--enable_batching"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving_config.serve", *flags],
            cwd=ROOT,
            env=ENV,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        await_model("small", log, process, rest_url=f"http://localhost:{rest}")
        yield base, process, port, rest
    finally:
        stop(process)


class Traffic:
    """Threads that go on until they are told to end, and what went wrong."""

    def __init__(self, port, rest):
        self.failures = []
        self.good = self.bad = 0
        self._ended = threading.Event()
        jobs = [(self._ask, rest, 0), (self._ask, rest, 1), (self._annoy, rest, 2), (self._annoy, port, 3)]
        self._threads = [threading.Thread(target=self._guarded, args=job) for job in jobs]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _guarded(self, job, port, seed):
        rng = random.Random(seed)  # noqa: S311
        while not self._ended.is_set():
            try:
                job(port, rng)
            except Exception as error:  # noqa: BLE001  # the test reports it
                self.failures.append(repr(error))

    def _ask(self, rest, _):
        answer = ask(f"http://127.0.0.1:{rest}{PREDICT}", method="POST", body=BODY)
        # Of odd versions 0.0, of even ones 1.0, and never of both in one answer.
        if answer.status != 200 or len(set(answer.json["predictions"])) != 1 or len(answer.json["predictions"]) != 16:
            self.failures.append(repr(answer))
        self.good += 1

    def _annoy(self, port, rng):
        talk(port, hostile(rng), wait=2.0)
        self.bad += 1


def test_minutes_of_traffic_and_swaps(server, publish):  # noqa: F811  # the fixture
    base, process, port, rest = server
    begin, version, swaps = time.monotonic(), 1, 0
    held = []
    with Traffic(port, rest) as traffic:
        while time.monotonic() - begin < 60 * MINUTES:
            time.sleep(3)
            publish(base, version + 1)
            deadline = time.monotonic() + 60
            while True:
                states = ask(f"http://127.0.0.1:{rest}/v1/models/small").json["model_version_status"]
                if {each["version"]: each["state"] for each in states}.get(str(version + 1)) == "AVAILABLE":
                    break
                assert time.monotonic() < deadline, states
                time.sleep(0.2)
            shutil.rmtree(base / str(version))  # removed underneath, as by a cleaner of old versions
            version, swaps = version + 1, swaps + 1
            held.append((memory(process), descriptors(process)))
            assert process.poll() is None
    assert not traffic.failures, traffic.failures[:3]
    assert traffic.good > 50
    assert traffic.bad > 20
    assert swaps >= 3
    quarter = len(held) // 4
    early, late = held[: quarter + 1], held[-quarter - 1 :]
    assert min(size for size, _ in late) < max(size for size, _ in early) + MOST_GROWTH, held
    assert min(count for _, count in late) < max(count for _, count in early) + 20, held


def test_the_base_directory_disappears_and_comes_back(server, publish):  # noqa: F811  # the fixture
    base, process, _, rest = server
    base.rename(base.with_name("elsewhere"))
    time.sleep(3)
    assert process.poll() is None
    assert ask(f"http://127.0.0.1:{rest}{PREDICT}", method="POST", body=BODY).status in {200, 404}
    base.with_name("elsewhere").rename(base)
    publish(base, 2)
    deadline = time.monotonic() + 60
    while True:
        answer = ask(f"http://127.0.0.1:{rest}{PREDICT}", method="POST", body=BODY)
        if answer.status == 200 and set(answer.json["predictions"]) == {1.0}:
            break
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)
