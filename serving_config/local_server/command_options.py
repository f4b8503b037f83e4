"""From the command's flags to the parts of the local server. Imports TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from maf_serving.batching import BATCHING_PATH, BatchingParameters, read_batching_parameters
from maf_serving.messages import message_class, read_text_message
from maf_serving.model_spec import VersionPolicy
from serving_config.errors import UsageError
from serving_config.local_server.loading import LoadOptions, SessionThreads, replay_warmup
from serving_config.local_server.model_config import LoadPolicy, ModelConfig, read_model_configs
from serving_config.local_server.rest_door import BodyLimits
from serving_config.local_server.server import METRICS_PATH, ServerOptions
from serving_config.local_server.tls import TlsConfig, read_tls_config
from serving_config.serve_options import ServeOptions, absolute, is_true

if TYPE_CHECKING:
    from serving_config.local_server.servable import Servable


def models(options: ServeOptions) -> tuple[ModelConfig, ...]:
    """The models to serve. Raises `UsageError` or `RequestError`."""
    if options.model_config_file is not None:
        configs = read_model_configs(options.model_config_file)
        for config in configs:
            if not Path(config.base_path).is_dir():
                raise UsageError(
                    f"base_path of model {config.name} in {options.model_config_file} is {config.base_path}, which is "
                    "no directory; expected one that holds versions"
                )
        return configs
    policy = VersionPolicy()
    if options.version is not None:
        policy = VersionPolicy(kind="specific", versions=(options.version,))
    base_path = absolute(str(options.model_base_path))
    return (ModelConfig(name=options.model_name, base_path=base_path, policy=policy),)


def session_threads(options: ServeOptions) -> SessionThreads:
    """Sizes of TensorFlow's thread pools. Raises `UsageError`."""
    return SessionThreads(
        session=_integer(options, "tensorflow_session_parallelism", 0),
        intra_op=_integer(options, "tensorflow_intra_op_parallelism", 0),
        inter_op=_integer(options, "tensorflow_inter_op_parallelism", 0),
    )


def load_options(options: ServeOptions) -> LoadOptions:
    """Threads, batching and warm-up. Raises `UsageError`."""
    warm_up = replay_warmup if options.flags.get("enable_model_warmup", "true") in ("true", "1") else _stay_cold
    return LoadOptions(
        threads=session_threads(options),
        batching=_batching(options),
        warm_up=warm_up,
        xla="compile" if is_true(options.flags.get("xla_cpu_compilation_enabled")) else "refuse",
    )


def load_policy(options: ServeOptions) -> LoadPolicy:
    """How versions are loaded. Raises `UsageError`."""
    policy = LoadPolicy(
        retries=_integer(options, "max_num_load_retries", 5),
        retry_seconds=_integer(options, "load_retry_interval_micros", 60_000_000) / 1e6,
        at_once=max(_integer(options, "num_load_threads", 1), 1),
        early_labels=is_true(options.flags.get("allow_version_labels_for_unavailable_models")),
    )
    if policy.retries < 0 or policy.retry_seconds < 0:
        raise UsageError("--max_num_load_retries or --load_retry_interval_micros is negative; expected 0 or more")
    return policy


def tls(options: ServeOptions) -> TlsConfig | None:
    """Certificates, if there is an `ssl.config`. Raises `UsageError`."""
    path = options.flags.get("ssl_config_file")
    return read_tls_config(path) if path is not None else None


def server_options(options: ServeOptions) -> ServerOptions:
    """The rest. Raises `UsageError`."""
    defaults = ServerOptions()
    return ServerOptions(
        host=options.listens_on,
        port=options.port,
        rest_api_port=options.rest_api_port or None,
        file_system_poll_wait_seconds=_integer(options, "file_system_poll_wait_seconds", 1),
        model_config_file=options.model_config_file,
        model_config_file_poll_wait_seconds=_integer(options, "model_config_file_poll_wait_seconds", 0),
        rest_api_timeout_in_ms=_integer(options, "rest_api_timeout_in_ms", defaults.rest_api_timeout_in_ms),
        metrics_path=_metrics_path(options),
        grpc_health_checks=is_true(options.flags.get("enable_grpc_healthcheck_service")),
        grpc_max_threads=_integer(options, "grpc_max_threads", defaults.grpc_max_threads),
        rest_api_num_threads=_integer(options, "rest_api_num_threads", defaults.rest_api_num_threads),
        body_limits=BodyLimits(largest=options.max_body_bytes),
        grace_seconds=options.grace_seconds,
    )


def _metrics_path(options: ServeOptions) -> str | None:
    path = options.flags.get("monitoring_config_file")
    if path is None:  # a real server has no metrics then, but a generated configuration has them
        return METRICS_PATH
    prometheus = read_text_message(path, message_class("MonitoringConfig")()).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


def _integer(options: ServeOptions, flag: str, default: int) -> int:
    return int(options.flags.get(flag, default))


def _batching(options: ServeOptions) -> Callable[[Path], BatchingParameters | None]:
    """The batching parameters of a version, by its directory."""
    path = options.flags.get("batching_parameters_file")
    per_model = is_true(options.flags.get("enable_per_model_batching_parameters"))
    if not is_true(options.flags.get("enable_batching")):
        if path is not None or per_model:
            raise UsageError("batching parameters without --enable_batching have no effect; expected both or neither")
        return lambda _version_dir: None
    parameters = read_batching_parameters(path) if path is not None else BatchingParameters()
    if not per_model:
        return lambda _version_dir: parameters
    return lambda version_dir: _own_batching(version_dir, num_batch_threads=parameters.num_batch_threads)


def _own_batching(version_dir: Path, *, num_batch_threads: int | None) -> BatchingParameters | None:
    """As the file in the version says; a version without one is not batched. Threads are the server's alone."""
    path = version_dir / BATCHING_PATH
    if not path.is_file():
        return None
    return dataclasses.replace(read_batching_parameters(path), num_batch_threads=num_batch_threads)


def _stay_cold(_servable: Servable, _version_dir: Path) -> None:
    """Replays no warm-up record."""
