"""The spec of a server as a YAML or JSON file."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

import yaml

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
        spec: ServingSpec = _read(ServingSpec, data, "spec", path.parent)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return dataclasses.replace(spec, models=tuple(_rooted(model, path.parent) for model in spec.models))


def _rooted(model: ServedModel, root: Path) -> ServedModel:
    return model if model.remote else dataclasses.replace(model, base_path=str(root / model.base_path))


def _read(kind: Any, data: Any, where: str, root: Path) -> Any:  # noqa: PLR0911  # one for each kind of type
    """`data` as `kind`: a dataclass, a tuple, a mapping, an optional type or a plain one."""
    if kind is VersionPolicy and not isinstance(data, dict):
        return VersionPolicy.parse(str(data))
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, data, where, root)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        (inner,) = (each for each in arguments if each is not type(None))
        return None if data is None else _read(inner, data, where, root)
    if origin is tuple:
        return tuple(
            _read(arguments[0], item, f"{where}[{i}]", root) for i, item in enumerate(_typed(data, list, where))
        )
    if origin is typing.Literal:
        return _choice(data, arguments, where)
    if kind is Path:
        return root / _typed(data, str, where)
    if origin is not None:  # the one mapping, of labels to versions
        return {
            _typed(key, str, where): _typed(value, int, f"{where}.{key}")
            for key, value in _typed(data, dict, where).items()
        }
    return _typed(data, kind, where)


def _dataclass(kind: Any, data: Any, where: str, root: Path) -> Any:
    values = _typed(data, dict, where)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise UsageError(f"{where} has an unknown key {key!r}; known keys: {', '.join(fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UsageError(f"{where} lacks the key {name!r}")
    return kind(**{key: _read(hints[key], value, f"{where}.{key}", root) for key, value in values.items()})


def _typed(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UsageError(f"{where} is {value!r}; expected {kind.__name__}")
    return value


def _choice(value: Any, choices: tuple[str, ...], where: str) -> Any:
    if value not in choices:
        raise UsageError(f"{where} is {value!r}; expected one of {', '.join(choices)}")
    return value
