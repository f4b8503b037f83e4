"""The spec of a server as a YAML or JSON file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from maf_serving.strict_json import Reader, read_value
from serving_config.errors import UsageError
from serving_config.spec import ServedModel, ServingSpec
from serving_config.version_policy import VersionPolicy


def read_spec(path: Path) -> ServingSpec:
    """The spec in a file; JSON is YAML too. Relative paths in it are relative to the file.

    Raises:
      UsageError: the file cannot be read, or a key is unknown, missing or of another type.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"spec {path} cannot be read: {' '.join(str(error).split())}") from error
    try:
        spec: ServingSpec = read_value(ServingSpec, data, "spec", error=UsageError, readers=_readers(path.parent))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return dataclasses.replace(spec, models=tuple(_rooted(model, path.parent) for model in spec.models))


def _rooted(model: ServedModel, root: Path) -> ServedModel:
    return model if model.remote else dataclasses.replace(model, base_path=str(root / model.base_path))


def _readers(root: Path) -> dict[Any, Reader]:
    """What reads paths relative to `root`, and version policies, which are written as on the command line too."""

    def path(value: Any, where: str) -> Path:
        return root / str(read_value(str, value, where, error=UsageError))

    def policy(value: Any, where: str) -> Any:
        if isinstance(value, dict):
            return read_value(VersionPolicy, value, where, error=UsageError)
        return VersionPolicy.parse(str(value))

    return {Path: path, VersionPolicy: policy}
