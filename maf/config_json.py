"""Configurations from JSON: every key known, every value of the type that its field declares."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from maf.errors import ConfigError


def from_mapping(cls: type, values: Any, where: str) -> Any:
    """The dataclass `cls` of the JSON object `values`, called `where` in errors. Raises `ConfigError`."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    check_keys(values, set(fields), required, where)
    hints = typing.get_type_hints(cls)
    return cls(**{name: _frozen(value, hints[name], f"{where}.{name}") for name, value in values.items()})


def _frozen(value: Any, hint: Any, where: str) -> Any:
    """`value` with its JSON lists as tuples, if it is of the type that the field declares."""
    kind = required_kind(hint)
    parts = typing.get_args(kind)
    if isinstance(value, list) and parts and isinstance(parts[0], type) and dataclasses.is_dataclass(parts[0]):
        return tuple(from_mapping(parts[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if isinstance(value, list):
        value = tuple(tuple(item) if isinstance(item, list) else item for item in value)
    kinds: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}
    expected = kinds.get(kind, (tuple,))
    if value is None and type(None) in typing.get_args(hint):
        return None
    if not isinstance(value, expected) or isinstance(value, bool) != (kind is bool):
        raise ConfigError(f"{where} is {value!r}; expected {getattr(hint, '__name__', hint)}")
    return value


def required_kind(hint: Any) -> Any:
    """The type of a field's values, with `| None` left out."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in typing.get_args(hint) else hint


def check_keys(values: Any, known: set[str], required: set[str], where: str) -> None:
    """Raises `ConfigError` unless `values` is an object with all `required` keys and none that is not `known`."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}; expected an object")
    for key in values:
        if key not in known:
            raise ConfigError(f"{where} has an unknown key {key!r}; known keys: {', '.join(sorted(known))}")
    for key in sorted(required):
        if key not in values:
            raise ConfigError(f"{where} lacks the key {key!r}")
