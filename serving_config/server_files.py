"""What TensorFlow Serving is started with: its flags, the files that they name, and a script for this machine.

Files are built as messages and printed by protobuf: models, monitoring, TLS.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from tensorflow_serving.config import model_server_config_pb2

from maf_serving.messages import message_class, message_text, read_text_message
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from serving_config.spec import ServedModel, ServingSpec, TlsFiles

MODEL_PLATFORM = "tensorflow"
MODELS_CONFIG = "models.config"
BATCHING_PARAMETERS = "batching_parameters.txt"
MONITORING_CONFIG = "monitoring.config"
SSL_CONFIG = "ssl.config"
SCRIPT = "serve.sh"
_REMOTE_POLL_SECONDS = 60  # each look at a bucket is a request that costs


def monitoring_text(path: str) -> str:
    """`monitoring.config`: Prometheus metrics at that path of the REST port."""
    return message_text(message_class("MonitoringConfig")(prometheus_config={"enable": True, "path": path}))


def ssl_text(files: TlsFiles) -> str:
    """`ssl.config`, which holds the keys themselves and not their paths."""
    message = message_class("SSLConfig")(
        server_key=files.server_key.read_text(encoding="utf-8"),
        server_cert=files.server_cert.read_text(encoding="utf-8"),
        client_verify=files.client_verification == "required",
    )
    if files.custom_ca is not None:
        message.custom_ca = files.custom_ca.read_text(encoding="utf-8")
    return message_text(message)


def model_server_config(spec: ServingSpec, base_paths: Mapping[str, str]) -> Any:
    """The message; `base_paths` says where the server sees each model, by name."""
    message = model_server_config_pb2.ModelServerConfig()
    for model in spec.models:
        config = message.model_config_list.config.add(
            name=model.name, base_path=base_paths[model.name], model_platform=MODEL_PLATFORM
        )
        _set_policy(config.model_version_policy, model)
        for label, version in model.version_labels.items():
            config.version_labels[label] = version
    return message


def read_config(path: Path) -> Any:
    """The message in a file. Raises `UsageError` if there is none."""
    return read_text_message(path, model_server_config_pb2.ModelServerConfig())


def model_entry(message: Any, name: str, path: Path) -> Any:
    """The configuration of one model. Raises `UsageError` naming those there are."""
    configs = {config.name: config for config in message.model_config_list.config}
    if name not in configs:
        raise UsageError(f"{path} has no model {name!r}; it has {', '.join(configs) or 'none'}")
    return configs[name]


def _set_policy(target: Any, model: ServedModel) -> None:
    policy = model.version_policy
    if policy.kind == "all":
        target.all.SetInParent()
    elif policy.kind == "specific":
        target.specific.versions.extend(sorted(policy.versions))
    else:
        target.latest.num_versions = policy.num_versions


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
