"""The options of `python -m serving_config.serve`: TF Serving's own flags under its own names, and a few of ours.

Standard library alone: `--help` is instant.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maf_serving.flags import CommandParser
from serving_config.errors import UsageError
from serving_config.spec import split_version

DEFAULT_IMAGE = "tensorflow/serving:2.19.1"
LOCAL_HOST = "127.0.0.1"
BACKENDS = ("auto", "binary", "docker", "local")
_DESCRIPTION = """Serves exported models over gRPC and REST: with the real tensorflow_model_server if there is one
(TENSORFLOW_MODEL_SERVER, then PATH), else with the official Docker image if Docker runs,
else with a local server in Python, for development. It says in one line which of the three it is.

  %(prog)s --model models/demo --model_name demo
  %(prog)s --model_config_file serving/models.config --backend local"""
_EPILOG = "Every other flag goes to the real server as it is; the local server refuses it."
_TRUE, _FALSE = ("true", "1"), ("false", "0")
# name: kind, help; the local server understands all of these
TF_SERVING_FLAGS = {
    "model_config_file_poll_wait_seconds": ("number", "how often to read --model_config_file again; 0: never"),
    "file_system_poll_wait_seconds": ("number", "how often to look for new versions; 0: never again (default 1)"),
    "allow_version_labels_for_unavailable_models": ("switch", "a new label may name a version not yet loaded"),
    "enable_batching": ("switch", "gather requests into batches"),
    "batching_parameters_file": ("text", "BatchingParameters"),
    "enable_per_model_batching_parameters": ("switch", "each version's own batching_params.pbtxt"),
    "enable_model_warmup": ("switch", "replay a version's warm-up records (default true)"),
    "monitoring_config_file": ("text", "MonitoringConfig: the page for Prometheus (local: on without it)"),
    "ssl_config_file": ("text", "SSLConfig: key and certificates in PEM"),
    "enable_grpc_healthcheck_service": ("switch", "the standard gRPC health service"),
    "rest_api_timeout_in_ms": ("number", "of a REST request (default 30000)"),
    "rest_api_num_threads": ("number", "REST requests at the same time (default 4 for each CPU)"),
    "grpc_max_threads": ("number", "gRPC calls at the same time (default 4 for each CPU)"),
    "max_num_load_retries": ("number", "how often a version that fails is tried again (default 5)"),
    "load_retry_interval_micros": ("number", "time between (default 60000000)"),
    "num_load_threads": ("number", "versions that load at the same time"),
    "xla_cpu_compilation_enabled": ("switch", "run functions with jit_compile=True"),
    "tensorflow_session_parallelism": ("number", "threads inside and between operations"),
    "tensorflow_intra_op_parallelism": ("number", "threads inside an operation"),
    "tensorflow_inter_op_parallelism": ("number", "operations at the same time"),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What to serve and how.

    Attributes:
      backend: one of `BACKENDS`.
      host: address to listen on; `None` is `LOCAL_HOST`.
      docker_image: for the backend `docker`.
      max_body_bytes: largest REST body, of the local server.
      grace_seconds: how long a stopping local server waits for requests.
      port: of gRPC.
      rest_api_port: of REST; 0 is none.
      model_name: of the single model.
      model_base_path: of the single model.
      version: of it, the only one to serve; `None` for the newest.
      model_config_file: of several.
      flags: the other flags of TF Serving that were given, by name, as text.
      extra: arguments that are not known here; the real server may know them.
    """

    backend: str = "auto"
    host: str | None = None
    docker_image: str = DEFAULT_IMAGE
    max_body_bytes: int = 256 * 2**20
    grace_seconds: float = 30.0
    port: int = 8500
    rest_api_port: int = 8501
    model_name: str = "default"
    model_base_path: str | None = None
    version: int | None = None
    model_config_file: str | None = None
    flags: dict[str, str] = dataclasses.field(default_factory=dict)
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.model_base_path is None) == (self.model_config_file is None):
            given = "neither" if self.model_base_path is None else "both"
            raise UsageError(f"--model and --model_config_file: {given} given; expected one of them")
        for flag, port, least in (("--port", self.port, 1), ("--rest_api_port", self.rest_api_port, 0)):
            if not least <= port <= 65535:
                raise UsageError(f"{flag} is {port}; expected {least} to 65535")
        if self.port == self.rest_api_port:
            raise UsageError(f"--port and --rest_api_port are both {self.port}; expected two ports")
        if self.grace_seconds < 0:
            raise UsageError(f"--grace_seconds is {self.grace_seconds:g}; expected 0 or more")
        base = self.model_base_path
        if base is not None and "://" not in base and not Path(base).is_dir():
            raise UsageError(f"--model is {base}, which is no directory; expected one that holds versions")
        for flag in ("model_config_file", *(name for name in self.flags if name.endswith("_file"))):
            path = self.model_config_file if flag == "model_config_file" else self.flags[flag]
            if path is not None and not Path(path).is_file():
                raise UsageError(f"--{flag} is {path}, which is no file")

    @property
    def listens_on(self) -> str:
        """The address."""
        return self.host or LOCAL_HOST

    def real_server_flags(self) -> list[str]:
        """The flags of a real tensorflow_model_server, with absolute paths."""
        flags = {"port": str(self.port), "rest_api_port": str(self.rest_api_port)}
        if self.model_base_path is not None:
            flags |= {"model_name": self.model_name, "model_base_path": absolute(self.model_base_path)}
        if self.model_config_file is not None:
            flags["model_config_file"] = absolute(self.model_config_file)
        flags |= {name: absolute(value) if name.endswith("_file") else value for name, value in self.flags.items()}
        return [*(f"--{name}={value}" for name, value in flags.items()), *self.extra]


def absolute(path: str) -> str:
    """The path as a server elsewhere would need it; a URI stays."""
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100  # links stay links


def parse_serve_flags(arguments: Sequence[str]) -> ServeOptions:
    """The options.

    Raises:
      UsageError: a flag is misspelt, or has no valid value.
      SystemExit: after printing the help that was asked for.
    """
    known, extra = _parser().parse_own_args(arguments)
    for argument in extra:
        if not argument.startswith("--"):
            raise UsageError(f"unexpected argument {argument!r}; flags of the real server are written --name=value")
    values = vars(known)
    flags = {name: values.pop(name) for name in TF_SERVING_FLAGS}
    if values["model_base_path"] is not None:
        values["model_base_path"], values["version"] = split_version(values["model_base_path"])
    return ServeOptions(
        **{name: value for name, value in values.items() if value is not None},
        flags={name: value for name, value in flags.items() if value is not None},
        extra=tuple(extra),
    )


def is_true(text: str | None) -> bool:
    """The value of a switch; absent is false."""
    return text in _TRUE


def _parser() -> CommandParser:
    parser = CommandParser(
        "serving_config.serve",
        _DESCRIPTION,
        epilog=_EPILOG,
        usage="%(prog)s --model DIR --model_name NAME [options] [options of tensorflow_model_server]",
    )
    add = parser.add_argument
    add(
        "--model",
        dest="model_base_path",
        metavar="DIR",
        help="directory that holds the versions of one model, or one version (TF Serving: --model_base_path)",
    )
    add("--model_name", metavar="NAME", help="name of that model (default: default)")
    add("--model_config_file", metavar="FILE", help="ModelServerConfig: several models, version policies, labels")
    add("--port", type=int, metavar="PORT", help="of gRPC (default 8500)")
    add("--rest_api_port", type=int, metavar="PORT", help="of REST; 0 for none (default 8501)")
    add("--backend", choices=BACKENDS, help="which server to run (default auto)")
    add("--host", metavar="ADDRESS", help=f"address to listen on (default {LOCAL_HOST})")
    group = parser.add_argument_group("TF Serving's flags")
    for name, (kind, text) in TF_SERVING_FLAGS.items():
        options: dict[str, Any] = {"metavar": "TEXT"}
        if kind == "number":
            options = {"metavar": "N", "type": _number}
        if kind == "switch":
            options = {"metavar": "true|false", "nargs": "?", "const": "true", "type": _switch}
        group.add_argument(f"--{name}", help=text, **options)
    ours = parser.add_argument_group("of one backend")
    ours.add_argument("--docker_image", metavar="IMAGE", help=f"default {DEFAULT_IMAGE}")
    ours.add_argument(
        "--rest_api_max_body_bytes", dest="max_body_bytes", type=int, metavar="N", help="local: largest body, or 413"
    )
    ours.add_argument("--grace_seconds", type=float, metavar="N", help="local: wait for requests when stopping (30)")
    parser.add_old_names({"--model_base_path": "--model", "--model_base": "--model"})
    return parser


def _number(text: str) -> str:
    if not text.lstrip("-").isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no integer")
    return text


def _switch(text: str) -> str:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower()
