"""The local server, put together: models, APIs, two doors, and the timers that look for new versions."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serving_config.errors import StartError, UsageError
from serving_config.local_server import metrics
from serving_config.local_server.apis import Apis
from serving_config.local_server.errors import RequestError
from serving_config.local_server.grpc_door import GrpcDoor
from serving_config.local_server.loading import LoadOptions, load_servable
from serving_config.local_server.metrics import Metrics
from serving_config.local_server.model_manager import ModelManager, ModelPolling
from serving_config.local_server.rest_api import RestApi
from serving_config.local_server.rest_door import BodyLimits, RestDoor

if TYPE_CHECKING:
    from serving_config.local_server.model_config import LoadPolicy, ModelConfig
    from serving_config.local_server.servable import Servable
    from serving_config.local_server.tls import TlsConfig

METRICS_PATH = "/monitoring/prometheus/metrics"
_LAST_PORT = 65535


class LocalServer:
    """Serves models until it is stopped.

    Attributes:
      port: of gRPC, once started.
      rest_api_port: of REST, once started; `None` without REST.
      manager: the models.
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        load_policy: LoadPolicy | None = None,
        loading: LoadOptions | None = None,
        tls: TlsConfig | None = None,
        log: Callable[[str], None],
    ) -> None:
        """Serves nothing yet; `log` takes a line about what happens to versions."""
        self._options = options
        self._loading = loading or LoadOptions()
        self._metrics = Metrics()
        self.manager = ModelManager(self._load, policy=load_policy, log=log)
        self._polling = ModelPolling(self.manager, log=log)
        apis = Apis(self.manager, self._metrics)
        self._grpc = GrpcDoor(apis, threads=options.grpc_max_threads, health_checks=options.grpc_health_checks, tls=tls)
        timeout = options.rest_api_timeout_in_ms / 1000 if options.rest_api_timeout_in_ms > 0 else None
        page = (options.metrics_path, self._metrics.to_text) if options.metrics_path is not None else None
        self._rest = RestDoor(
            RestApi(apis, timeout=timeout),
            threads=options.rest_api_num_threads,
            tls=tls,
            body_limits=options.body_limits,
            metrics_page=page,
        )
        self.port = 0
        self.rest_api_port: int | None = None

    def start(self, models: Sequence[ModelConfig]) -> None:
        """Loads the models and listens; returns when the server is ready to answer.

        A model without versions is waited for, and until then nothing listens.

        Raises:
          StartError: if a model does not load, a label cannot be assigned, or a port is taken.
        """
        started: list[Callable[[], None]] = [self.manager.stop, self._polling.stop]
        try:
            self._polling.poll_versions(self._options.file_system_poll_wait_seconds)  # a first version may come late
            self.manager.configure(models)
            self.port = self._grpc.start(self._options.host, self._options.port)
            started.append(lambda: self._grpc.stop(0))
            if self._options.rest_api_port is not None:
                self.rest_api_port = self._rest.start(self._options.host, self._options.rest_api_port)
        except BaseException as error:
            for undo in reversed(started):
                undo()
            if isinstance(error, RequestError):
                raise StartError(error.message) from error
            raise
        if self._options.model_config_file is not None:
            self._polling.poll_config(
                self._options.model_config_file,
                self._options.model_config_file_poll_wait_seconds,
                applied=tuple(models),
            )

    def stop(self) -> None:
        """Takes no new request, answers those under way within the grace period, and frees everything."""
        self.manager.stop_waiting()
        grace = self._options.grace_seconds
        doors = [threading.Thread(target=self._grpc.stop, args=(grace,))]
        if self.rest_api_port is not None:
            doors.append(threading.Thread(target=self._rest.stop, args=(grace,)))
        for door in doors:
            door.start()
        for door in doors:
            door.join()
        self._polling.stop()
        self.manager.stop()

    def _load(self, model: str, version: int, path: Path) -> Servable:
        def observe(api: str, seconds: float) -> None:
            self._metrics.count(metrics.GRAPH_RUNS)
            self._metrics.count(metrics.GRAPH_RUN_TIME, round(seconds * 1e6))
            self._metrics.observe(metrics.RUNTIME_LATENCY, seconds, model_name=model, API=api, runtime="TF1")

        started = time.perf_counter()
        status = "fail"
        try:
            servable = load_servable(model, version, path, self._loading, observe)
            status = "success"
        finally:
            self._metrics.count(metrics.LOAD_ATTEMPTS, model_path=str(path), status=status)
            elapsed = round((time.perf_counter() - started) * 1e6)
            self._metrics.count(metrics.LOAD_LATENCY, elapsed, model_path=str(path))
        return servable


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
