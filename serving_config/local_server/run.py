"""Runs the local server as a program: from flags to the line that says it is ready, until a signal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from maf_serving.command import show
from maf_serving.quiet_tensorflow import keras_later, quietly
from serving_config.errors import StartError, UsageError
from serving_config.local_server.errors import RequestError
from serving_config.serve_options import ServeOptions, is_true

if TYPE_CHECKING:
    from serving_config.local_server.server import LocalServer

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SWITCH_SECONDS = 0.0005  # a tenth of the default: a small request has its turn soon beside large ones


class _Signals:
    """The first signal asks a running server to stop; one that comes earlier, or another, ends the process at once."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._running = False
        for number in _SIGNALS:
            signal.signal(number, self._receive)

    def expect_a_server(self) -> None:
        """From now on a first signal asks the server to stop."""
        self._running = True

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if not self._running or self.asked.is_set():
            os.write(2, b"stopped at once\n")
            os._exit(128 + number)
        self.asked.set()


def run_local(options: ServeOptions, reason: str) -> int:
    """Serves until a signal; returns the exit status.

    Raises:
      UsageError: if flags or files make no sense.
      StartError: if a model does not load or a port is taken.
    """
    if options.extra:
        raise UsageError(
            f"unknown argument {options.extra[0]!r}: the local server does not know it; leave it out, or run a real "
            "server (--backend binary or docker)"
        )
    signals = _Signals()
    sys.setswitchinterval(_SWITCH_SECONDS)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what fails comes as an exception
    with quietly(), keras_later():
        import tensorflow as tf  # noqa: PLC0415  # after the flags are known to be good

        from serving_config.local_server import command_options  # noqa: PLC0415
        from serving_config.local_server.server import LocalServer  # noqa: PLC0415

    loading = command_options.load_options(options)
    with quietly():
        tf.compat.v1.Session(
            graph=tf.Graph(), config=loading.threads.session_config()
        ).close()  # says all it has to say
    try:
        models = command_options.models(options)
    except RequestError as error:
        raise UsageError(error.message) from error
    server = LocalServer(
        command_options.server_options(options),
        load_policy=command_options.load_policy(options),
        loading=loading,
        tls=command_options.tls(options),
        log=_log,
    )
    try:
        server.start(models)
    except StartError as error:
        raise StartError(_with_advice(str(error), options)) from error
    signals.expect_a_server()  # first: who reads the line may stop the server at once
    show(_ready_line(server, options, models, reason))
    signals.asked.wait()
    _log("stopping: no new requests, those under way are answered")
    server.stop()
    return 0


def _ready_line(server: LocalServer, options: ServeOptions, models: Any, reason: str) -> str:
    names = ", ".join(model.name for model in models)
    scheme = "https" if "ssl_config_file" in options.flags else "http"
    host = options.listens_on
    rest = f", REST on {scheme}://{host}:{server.rest_api_port}" if server.rest_api_port is not None else ", no REST"
    doors = f"gRPC on {host}:{server.port}{rest}"
    return f"local server in Python, for development, serves {names}: {doors}, because {reason}"


def _with_advice(message: str, options: ServeOptions) -> str:
    early = "allow_version_labels_for_unavailable_models"
    if message.startswith("Request to assign label") and not is_true(options.flags.get(early)):
        return f"{message}; a first configuration with labels needs --{early}"
    return message


def _log(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
