"""What an export costs and what its first request costs, with warm-up and without.

Each start of a server is a process of its own: the real `tensorflow_model_server` where there is one, else the local
one. Starts with and without warm-up take turns.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measurement import Measurement
from maf_serving.errors import MafServingError
from serving_config.client import Client
from serving_config.client.retry import RetryPolicy
from serving_config.client.transport import AVAILABLE

if TYPE_CHECKING:
    from benchmarks.case import Case

MODEL = "benchmark"
SUBJECTS = {"true": "warm-up", "false": "no warm-up"}
LATER_REQUESTS = 50
PATIENCE = 180.0  # seconds for a server to come up


class ServerError(Exception):
    """A server did not come up; the message says what it wrote."""


def measure_serving(
    cases: Sequence[Case], *, repeats: int, progress: Callable[[str], None] = lambda _: None
) -> list[Measurement]:
    """Export, size, load and requests of one row for the flow of each case.

    Raises:
      ServerError: if a server does not come up.
    """
    measurements: list[Measurement] = []
    for case in cases:
        with tempfile.TemporaryDirectory() as directory:
            progress(f"{case}: export")
            measurements += _export(case, Path(directory))
            values: dict[tuple[str, str], list[float]] = {}
            for _ in range(repeats):
                for switch, subject in SUBJECTS.items():
                    progress(f"{case}: first request, {subject}")
                    for quantity, value in _start_and_ask(case, Path(directory), switch).items():
                        values.setdefault((subject, quantity), []).append(value)
            measurements += [
                Measurement(subject=subject, quantity=quantity, case=case, values=tuple(found))
                for (subject, quantity), found in values.items()
            ]
    return measurements


def _export(case: Case, base: Path) -> Iterator[Measurement]:
    import tensorflow as tf  # noqa: PLC0415  # after the quiet import

    from benchmarks.tfp_flow import build_flow  # noqa: PLC0415
    from export import export_saved_model  # noqa: PLC0415

    def found(quantity: str, *values: float) -> Measurement:
        return Measurement(subject="export", quantity=quantity, case=case, values=values)

    events = [f"x{i}" for i in range(case.event_size)]
    conditions = [f"c{i}" for i in range(case.condition_size)]
    distribution = build_flow(case)
    started = time.perf_counter()
    version = Path(export_saved_model(distribution, base, event_columns=events, conditional_columns=conditions))
    yield found("export [s]", time.perf_counter() - started)
    yield found("size [MB]", sum(path.stat().st_size for path in version.rglob("*") if path.is_file()) / 1e6)
    yield found("load [s]", *(_seconds(lambda: tf.saved_model.load(str(version))) for _ in range(3)))


def _start_and_ask(case: Case, base: Path, warm_up: str) -> dict[str, float]:
    """Figures of one start of a server; requests are of one row, over gRPC."""
    rng = np.random.default_rng(0)
    x, condition = (rng.normal(size=(1, size)).astype(np.float32) for size in (case.event_size, case.condition_size))
    port, rest_port = _free_port(), _free_port()
    started = time.perf_counter()
    with (
        _server(base, port, rest_port, warm_up) as process,
        Client(MODEL, grpc_target=f"localhost:{port}", retry=RetryPolicy(attempts=1)) as client,
    ):
        _wait(client, port, process, started)
        up = time.perf_counter() - started
        client.metadata()  # the client asks for it before its first request
        first = _seconds(lambda: client.log_prob(x, condition))
        later = [_seconds(lambda: client.log_prob(x, condition)) for _ in range(LATER_REQUESTS)]
        first_sample = _seconds(lambda: client.predict("sample", {"conditional_input": condition}))
    return {
        "start until available [s]": up,
        "first log_prob [s]": first,
        "later log_prob [s]": statistics.median(later),
        "first sample [s]": first_sample,
    }


@contextlib.contextmanager
def _server(base: Path, port: int, rest_port: int, warm_up: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "serving_config.serve", f"--model_base_path={base}", f"--model_name={MODEL}"]
    flags = [f"--port={port}", f"--rest_api_port={rest_port}", f"--enable_model_warmup={warm_up}"]
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen([*command, *flags], stdout=output, stderr=output) as process,  # noqa: S603
    ):
        try:
            yield process
        except ServerError as error:
            output.seek(0)
            raise ServerError(f"{error}: {output.read().decode(errors='replace')[-500:]}") from error
        finally:
            process.terminate()


def _wait(client: Client, port: int, process: subprocess.Popen[bytes], started: float) -> None:
    """Until the model is available; a gRPC channel that finds no open port waits a second before it tries again."""
    while time.perf_counter() - started < PATIENCE:
        if process.poll() is not None:
            raise ServerError(f"the server ended with status {process.returncode}")
        with contextlib.suppress(MafServingError, ConnectionError):
            socket.create_connection(("localhost", port)).close()
            if any(version.state == AVAILABLE for version in client.model_status()):
                return
        time.sleep(0.02)
    raise ServerError(f"the server was not available after {PATIENCE:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port


def _seconds(function: Callable[[], object]) -> float:
    before = time.perf_counter()
    function()
    return time.perf_counter() - before
