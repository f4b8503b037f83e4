"""The flags of `tensorflow_model_server`, and the script that starts it on this machine."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving_config.spec import ServingSpec

MODELS_CONFIG = "models.config"
BATCHING_PARAMETERS = "batching_parameters.txt"
MONITORING_CONFIG = "monitoring.config"
SSL_CONFIG = "ssl.config"
SCRIPT = "serve.sh"
_REMOTE_POLL_SECONDS = 60  # each look at a bucket is a request that costs


def server_flags(spec: ServingSpec, config_dir: str) -> list[str]:
    """The flags, for configuration files that the server sees in `config_dir`.

    Threads follow from the cores. The defaults of the REST and gRPC pools are counted from the machine's processors,
    which a container does not have.
    """
    flags = {
        "port": str(spec.port),
        "rest_api_port": str(spec.rest_api_port),
        "model_config_file": f"{config_dir}/{MODELS_CONFIG}",
        "model_config_file_poll_wait_seconds": str(spec.config_poll_seconds),
        "monitoring_config_file": f"{config_dir}/{MONITORING_CONFIG}",
        **thread_flags(spec),
        "rest_api_num_threads": str(4 * spec.cores),
        "grpc_max_threads": str(4 * spec.cores),
    }
    if any(model.version_labels for model in spec.models):
        # At start-up no version is loaded yet, and the server would refuse its first configuration.
        flags["allow_version_labels_for_unavailable_models"] = "true"
    if any(model.remote for model in spec.models):
        flags["file_system_poll_wait_seconds"] = str(_REMOTE_POLL_SECONDS)
    if spec.batching is not None:
        flags |= {"enable_batching": "true", "batching_parameters_file": f"{config_dir}/{BATCHING_PARAMETERS}"}
    if spec.ssl is not None:
        flags["ssl_config_file"] = f"{config_dir}/{SSL_CONFIG}"
    return [f"--{name}={value}" for name, value in flags.items()]


def thread_flags(spec: ServingSpec) -> dict[str, str]:
    """Threads inside TensorFlow. `serving_config.tune` measures whether fewer than the cores are better."""
    return {
        "tensorflow_intra_op_parallelism": str(spec.intra_op_threads or spec.cores),
        "tensorflow_inter_op_parallelism": str(spec.inter_op_threads or spec.cores),
    }


def serve_script(spec: ServingSpec) -> str:
    """A shell script that starts the server from the directory it lies in; more flags may follow it."""
    command = ['"${TENSORFLOW_MODEL_SERVER:-tensorflow_model_server}"', *map(shlex.quote, server_flags(spec, "."))]
    lines = ["#!/bin/sh", 'cd "$(dirname "$0")" || exit 1', "exec " + " \\\n    ".join([*command, '"$@"'])]
    return "\n".join(lines) + "\n"
