"""What a local server is told when it starts."""

from __future__ import annotations

import dataclasses
import os

from serving_config.errors import UsageError
from serving_config.local_server.request_body import BodyLimits

METRICS_PATH = "/monitoring/prometheus/metrics"
_LAST_PORT = 65535


def _threads() -> int:
    return 4 * (os.cpu_count() or 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Options of the server, named as TF Serving's flags where it has one.

    Attributes:
      host: address to listen on.
      port: of gRPC; 0 takes a free one.
      rest_api_port: of REST; `None` for no REST, 0 takes a free one.
      file_system_poll_wait_seconds: how often to look for versions; 0 or less, never again.
      model_config_file: where the models came from, if it is to be read again.
      model_config_file_poll_wait_seconds: how often; 0, never.
      rest_api_timeout_in_ms: how long the graph may take for a REST request; 0, for ever.
      metrics_path: where Prometheus finds the metrics; `None` for nowhere.
      grpc_health_checks: whether the gRPC health service answers.
      grpc_max_threads: gRPC calls answered at the same time.
      rest_api_num_threads: REST requests answered at the same time.
      body_limits: what REST bodies may cost.
      grace_seconds: how long a stopping server waits for the requests under way.
    """

    host: str = "127.0.0.1"
    port: int = 8500
    rest_api_port: int | None = 8501
    file_system_poll_wait_seconds: float = 1.0
    model_config_file: str | None = None
    model_config_file_poll_wait_seconds: float = 0.0
    rest_api_timeout_in_ms: int = 30000
    metrics_path: str | None = None
    grpc_health_checks: bool = False
    grpc_max_threads: int = dataclasses.field(default_factory=_threads)
    rest_api_num_threads: int = dataclasses.field(default_factory=_threads)
    body_limits: BodyLimits = dataclasses.field(default_factory=BodyLimits)
    grace_seconds: float = 30.0

    def __post_init__(self) -> None:
        for flag, port in (("--port", self.port), ("--rest_api_port", self.rest_api_port)):
            if port is not None and not 0 <= port <= _LAST_PORT:
                raise UsageError(f"{flag} is {port}; expected 0 to {_LAST_PORT}")
        if self.port and self.port == self.rest_api_port:
            raise UsageError(f"--port and --rest_api_port are both {self.port}; expected two ports")
        for flag, threads in (
            ("--grpc_max_threads", self.grpc_max_threads),
            ("--rest_api_num_threads", self.rest_api_num_threads),
        ):
            if threads < 1:
                raise UsageError(f"{flag} is {threads}; expected at least 1")
        if self.metrics_path is not None and not self.metrics_path.startswith("/"):
            raise UsageError(f"the path of the metrics is {self.metrics_path!r}; expected one that starts with /")
