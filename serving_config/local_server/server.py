"""The local server, put together: models, APIs, two doors, and the timers that look for new versions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serving_config.errors import StartError
from serving_config.local_server import metrics
from serving_config.local_server.apis import Apis
from serving_config.local_server.errors import RequestError
from serving_config.local_server.grpc_door import GrpcDoor
from serving_config.local_server.loading import LoadOptions, load_servable
from serving_config.local_server.metrics import Metrics
from serving_config.local_server.model_manager import ModelManager
from serving_config.local_server.model_polling import ModelPolling
from serving_config.local_server.rest_api import RestApi
from serving_config.local_server.rest_door import RestDoor

if TYPE_CHECKING:
    from serving_config.local_server.load_policy import LoadPolicy
    from serving_config.local_server.model_config import ModelConfig
    from serving_config.local_server.servable import Servable
    from serving_config.local_server.server_options import ServerOptions
    from serving_config.local_server.tls import TlsConfig


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
