"""The files that TensorFlow Serving reads, as messages and as text: models, batching, monitoring, TLS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorflow_serving.config import model_server_config_pb2

from maf_serving.messages import message_class, message_text, read_text_message
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from serving_config.spec import ServedModel, ServingSpec, TlsFiles

MODEL_PLATFORM = "tensorflow"


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


def find_model(message: Any, name: str, path: Path) -> Any:
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
