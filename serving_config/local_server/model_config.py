"""The models to serve, read from TF Serving's `ModelServerConfig`: which of their versions, when, under which labels.

Pure functions and values. The order is TF Serving's availability-preserving policy: a version that is no longer wanted
goes only once a wanted one answers, or if none is wanted at all; among the versions to load, the highest is first.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Literal

from tensorflow_serving.config import model_server_config_pb2

from maf_serving.codes import Code
from maf_serving.messages import read_text_message
from maf_serving.model_spec import VersionPolicy
from serving_config.errors import UsageError
from serving_config.local_server.errors import invalid_argument

_PLATFORM = "tensorflow"


class State(enum.IntEnum):
    """Numbers as in `tensorflow.serving.ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(frozen=True, slots=True)
class ServableStatus:
    """Where a version is in its life, and what went wrong if something did."""

    state: State
    code: Code = Code.OK
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class VersionStep:
    """The next thing to do for a model."""

    kind: Literal["load", "unload"]
    version: int


def next_step(wanted: Collection[int], states: Mapping[int, State]) -> VersionStep | None:
    """What to do next, or `None` if all is as it should be or under way.

    Args:
      wanted: the versions that should be served.
      states: where each known version is. A version at END is not loaded again while it stays wanted.
    """
    available = [version for version, state in states.items() if state is State.AVAILABLE]
    unwanted = [version for version in available if version not in wanted]
    if unwanted and (not wanted or any(version in wanted for version in available)):
        return VersionStep("unload", min(unwanted))
    to_load = [version for version in wanted if version not in states]
    return VersionStep("load", max(to_load)) if to_load else None


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
        try:
            return VersionPolicy(kind="specific", versions=tuple(dict.fromkeys(policy.specific.versions)))
        except UsageError as error:
            raise invalid_argument(f"model {name}: {error}") from error
    return VersionPolicy(num_versions=max(policy.latest.num_versions, 1))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadPolicy:
    """How versions are loaded.

    Attributes:
      retries: how often a version that fails is tried again.
      retry_seconds: how long to wait before.
      at_once: how many versions load at the same time.
      early_labels: whether a new label may name a version that is not there yet.
    """

    retries: int = 5
    retry_seconds: float = 60.0
    at_once: int = 1
    early_labels: bool = False
