"""A server for exported models, as a child of this process.

The child is what `maf-serving serve` runs: the real `tensorflow_model_server` if there is one, else the local server.
It is a process of its own, so that it neither waits for this one's work nor hinders it, and is ended when its `Server`
is closed, with an exception too, or when this process ends.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from maf_serving.errors import JobError, UsageError

_HOST = "127.0.0.1"
_POLL_SECONDS = 0.1
_STOP_SECONDS = 10.0
_TRIES = 3  # a port that was free may be taken before the server has it
_PORT_TAKEN = ("address already in use", "cannot listen", "failed to bind", "in use")


class Server:
    """A server that runs until it is closed; a context manager. See `ms.serve`.

        >>> server = ms.serve("models/sales", name="sales")
        >>> server.rest_url.startswith("http://127.0.0.1:")
        True
        >>> server.close()
        >>> server.is_running
        False

    Attributes:
      name: of the model, in requests.
      grpc_target: `host:port`, for `ms.Client(name, grpc_target=...)`.
      rest_url: `http://host:port`; the model is at `/v1/models/NAME`.
    """

    def __init__(
        self, name: str, *, port: int, rest_api_port: int, process: subprocess.Popen[bytes], log: IO[bytes]
    ) -> None:
        """See `ms.serve`."""
        self.name = name
        self.grpc_target = f"{_HOST}:{port}"
        self.rest_url = f"http://{_HOST}:{rest_api_port}"
        self._process = process
        self._log = log
        atexit.register(self.close)

    def __repr__(self) -> str:
        state = "" if self.is_running else ", closed"
        return f"Server({self.name!r}, grpc_target={self.grpc_target!r}, rest_url={self.rest_url!r}{state})"

    @property
    def is_running(self) -> bool:
        """Whether the server's process is there."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What the server has said so far."""
        if self._log.closed:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def close(self) -> None:
        """Ends the server: requests under way are answered, and after ten seconds it is killed. Twice does no harm."""
        atexit.unregister(self.close)
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def serve(
    model: str | Path,
    *,
    name: str | None = None,
    port: int = 0,
    rest_api_port: int = 0,
    backend: Literal["auto", "binary", "docker", "local"] = "auto",
    flags: Sequence[str] = (),
    timeout: float = 120.0,
) -> Server:
    """Starts a server for an exported model, and returns when it answers.

        >>> with ms.serve("models/sales", name="sales") as server, ms.Client(
        ...     "sales", grpc_target=server.grpc_target
        ... ) as client:
        ...     client.model_status()[0].state
        'AVAILABLE'

    It serves the newest version, and takes up those that come later, as TensorFlow Serving does.

    Args:
      model: a directory of versions; or a version directory, to serve that version alone.
      name: of the model, in requests; by default the name of the directory.
      port: of gRPC; 0 for a free one.
      rest_api_port: of REST; 0 for a free one.
      backend: which server. `"auto"` is the real one, if the variable TENSORFLOW_MODEL_SERVER or PATH has a
        `tensorflow_model_server`, else the local one, for development; `"docker"` is the official image.
      flags: others of `maf-serving serve` or of TensorFlow Serving, as in `["--enable_batching"]`.
      timeout: seconds until the model has to be available.

    Raises:
      UsageError: there is no such model, or the flags make no sense.
      JobError: the server could not start, or the model was not available in time.
    """
    from export.contract import find_version  # noqa: PLC0415  # the packages above, when they are needed

    version_dir = find_version(model)
    if name is None:
        name = (version_dir.parent if version_dir.samefile(model) else Path(model)).absolute().name
    chosen = _choose(backend)
    deadline = time.monotonic() + timeout
    arguments = [f"--backend={chosen}", *flags, f"--model={Path(model).absolute()}", f"--model_name={name}"]
    for last in (False,) * (_TRIES - 1) + (True,):
        grpc_port, rest_port = _free_ports(port, rest_api_port)
        server = _start(name, arguments, grpc_port, rest_port)
        try:
            _wait(server, deadline)
        except BaseException as error:
            taken = isinstance(error, JobError) and any(text in server.log.lower() for text in _PORT_TAKEN)
            server.close()
            if last or not taken or (port and rest_api_port):
                raise
        else:
            return server
    raise AssertionError("the last try returns or raises")


def _choose(backend: str) -> str:
    """The backend, without trying whether Docker runs unless it was asked for."""
    if backend != "auto":
        return backend
    from serving_config.serving_backend import PROGRAM, PROGRAM_VARIABLE  # noqa: PLC0415  # when they are needed

    return "binary" if os.environ.get(PROGRAM_VARIABLE) or shutil.which(PROGRAM) else "local"


def _free_ports(*wanted: int) -> list[int]:
    """The ports that are wanted, and free ones in place of 0, all different."""
    sockets = [socket.socket() for _ in wanted]
    try:
        for each in sockets:
            each.bind((_HOST, 0))
        return [port or int(each.getsockname()[1]) for port, each in zip(wanted, sockets, strict=True)]
    finally:
        for each in sockets:
            each.close()


def _start(name: str, arguments: Sequence[str], port: int, rest_api_port: int) -> Server:
    root = str(Path(__file__).parents[2])  # of all packages, wherever this process found them
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "serving_config.serve"]
    log = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the server
    process = subprocess.Popen(  # noqa: S603  # a command of ours
        [*command, *arguments, f"--port={port}", f"--rest_api_port={rest_api_port}"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C of a terminal is for this process, which closes the server
    )
    return Server(name, port=port, rest_api_port=rest_api_port, process=process, log=log)


def _wait(server: Server, deadline: float) -> None:
    """Waits until the model is available. Raises `JobError` if the server ends, or time does."""
    from serving_config.client.client import Client  # noqa: PLC0415  # the packages above, when they are needed
    from serving_config.client.retry import RetryPolicy  # noqa: PLC0415
    from serving_config.errors import ServingError  # noqa: PLC0415

    with Client(server.name, grpc_target=server.grpc_target, retry=RetryPolicy(attempts=1), timeout=5.0) as client:
        while True:
            if not server.is_running:
                raise _failed(server)
            try:
                if any(status.state == "AVAILABLE" for status in client.model_status()):
                    return
            except ServingError:
                pass  # not listening yet, or the model is not known yet
            if time.monotonic() > deadline:
                raise JobError(
                    f"model {server.name} was not available in time; the server says: {_last_line(server.log)}"
                )
            time.sleep(_POLL_SECONDS)


def _failed(server: Server) -> Exception:
    line = _last_line(server.log).removeprefix("error: ")
    kind = UsageError if server._process.returncode == UsageError.exit_status else JobError
    return kind(f"the server did not start: {line}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"
