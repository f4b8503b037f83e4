"""A move of a label, as changes of a `ModelServerConfig`: nothing is read, written or asked here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serving_config.client.model_status import AVAILABLE, VersionStatus
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from serving_config.labels.options import RolloutOptions


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LabelMove:
    """Which label goes to which version; `previous` is where it was, `None` for a new label."""

    label: str
    version: int
    previous: int | None


def plan_move(options: RolloutOptions, config: Any, statuses: Sequence[VersionStatus]) -> LabelMove:
    """What an operation means for a model, as its configuration and the server have it.

    Args:
      options: the operation.
      config: the model's `ModelConfig`.
      statuses: the versions that the server knows.

    Raises:
      UsageError: a label is not there, or there is no version to go back to.
    """
    labels = dict(config.version_labels)
    previous = labels.get(options.label)
    if options.operation == "promote":
        version = _label(labels, options.from_label, config.name)
    elif options.version is not None:
        version = options.version
    else:
        version = _version_before(_label(labels, options.label, config.name), config.name, statuses)
    return LabelMove(label=options.label, version=version, previous=previous)


def needs_loading(config: Any, version: int) -> bool:
    """Whether the policy keeps the version from being loaded. A policy of latest or all is taken at its word."""
    policy = config.model_version_policy
    return policy.WhichOneof("policy_choice") == "specific" and version not in policy.specific.versions


def add_version(config: Any, version: int) -> None:
    """Adds the version to those that a policy of specific versions loads."""
    versions = config.model_version_policy.specific.versions
    versions[:] = sorted({*versions, version})


def move_label(config: Any, move: LabelMove) -> None:
    """Puts the label on its version."""
    config.version_labels[move.label] = move.version


def _label(labels: dict[str, int], label: str, model: str) -> int:
    if label not in labels:
        raise UsageError(f"model {model} has no label {label!r}; it has {', '.join(sorted(labels)) or 'none'}")
    return labels[label]


def _version_before(version: int, model: str, statuses: Sequence[VersionStatus]) -> int:
    """The newest version before the one given that the server has loaded."""
    before = [each.version for each in statuses if each.version < version and each.state == AVAILABLE]
    if not before:
        raise UsageError(
            f"the server has no version of model {model} before {version} loaded; name one with --version to load it"
        )
    return max(before)
