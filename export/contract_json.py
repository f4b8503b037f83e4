"""Values read from the JSON of a contract: of the right kind, with every key known, or a `ContractError`."""

from __future__ import annotations

import dataclasses
from typing import Any

from maf_serving.errors import UsageError


class ContractError(UsageError, ValueError):
    """A contract, or the place where one should be, is not what it must be."""


def fields(cls: type, data: object, where: str) -> dict[str, Any]:
    """`data` as keyword arguments of the dataclass `cls`: no unknown key, none missing that has no default."""
    values: dict[str, Any] = typed(data, dict, where)
    known = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            raise ContractError(f"{where} has an unknown key {key!r}; known keys: {', '.join(known)}")
    for name, field in known.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ContractError(f"{where} lacks the key {name!r}")
    return values


def typed(value: object, kind: type | tuple[type, ...], where: str) -> Any:
    """`value` if it is of that kind; JSON's true and false are no numbers."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(k.__name__ for k in kinds)
        raise ContractError(f"{where} is {value!r}; expected {expected}")
    return value


def strings(value: object, where: str) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(typed(item, str, where) for item in typed(value, list, where))
