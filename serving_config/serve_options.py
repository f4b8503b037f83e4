"""The options of `python -m serving_config.serve`, as a value. Standard library alone: `--help` is instant."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from serving_config.errors import UsageError

DEFAULT_IMAGE = "tensorflow/serving:2.19.1"
LOCAL_HOST = "127.0.0.1"
BACKENDS = ("auto", "binary", "docker", "local")


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
