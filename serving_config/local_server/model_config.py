"""The models to serve, as values read from TF Serving's `ModelServerConfig`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from maf_serving.messages import read_text_message
from serving_config.local_server.errors import invalid_argument
from serving_config.local_server.versions import VersionPolicy

_PLATFORM = "tensorflow"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One model: where its versions lie, which are served, and what they are called."""

    name: str
    base_path: str
    policy: VersionPolicy = dataclasses.field(default_factory=VersionPolicy)
    labels: Mapping[str, int] = dataclasses.field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not self.name:
            raise invalid_argument("a model has no name; expected name: ... in every config")
        if not self.base_path:
            raise invalid_argument(
                f"model {self.name} has no base_path; expected the directory that holds its versions"
            )
        if "://" in self.base_path:
            raise invalid_argument(
                f"base_path of model {self.name} is {self.base_path}; the local server reads local directories alone: "
                "use the real server (--backend binary or docker), or copy the model"
            )
        if not PurePath(self.base_path).is_absolute():
            raise invalid_argument(
                f"Expected model {self.name} to have an absolute path or URI; got base_path()={self.base_path}"
            )


def read_model_configs(path: str) -> tuple[ModelConfig, ...]:
    """The models in a `models.config` file. Raises `UsageError` or `RequestError`."""
    return parse_model_configs(read_text_message(path, model_server_config_pb2.ModelServerConfig()))


def parse_model_configs(config: Any) -> tuple[ModelConfig, ...]:
    """The models of a `ModelServerConfig` message.

    Raises:
      RequestError: if the message makes no sense; a reload request is answered with it.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "the configuration has no model_config_list; expected model_config_list { config { ... } }"
        )
    models: dict[str, ModelConfig] = {}
    for each in config.model_config_list.config:
        if each.name in models:
            raise invalid_argument(f"Illegal to list model {each.name} multiple times in config list")
        _check_platform(each)
        models[each.name] = ModelConfig(
            name=each.name,
            base_path=each.base_path,
            policy=_policy(each.name, each.model_version_policy),
            labels=MappingProxyType(dict(each.version_labels)),
        )
    if not models:
        raise invalid_argument("model_config_list is empty; expected at least one config { name: ... base_path: ... }")
    return tuple(models.values())


def _check_platform(config: Any) -> None:
    platform = config.model_platform
    if config.model_type and platform:
        raise invalid_argument(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        )
    if not config.model_type and not platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    if platform not in ("", _PLATFORM):
        raise invalid_argument(f"Model {config.name} requests unsupported platform {platform}")


def _policy(name: str, policy: Any) -> VersionPolicy:
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy(kind="all")
    if kind == "specific":
        if not policy.specific.versions:
            raise invalid_argument(
                f"model {name} has the version policy specific without versions; expected versions: N"
            )
        return VersionPolicy(kind="specific", specific=tuple(policy.specific.versions))
    return VersionPolicy(latest=max(policy.latest.num_versions, 1))
