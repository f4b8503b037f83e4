"""Dataclasses from JSON: every key known, none missing that has no default, every value of its field's type.

    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Size:
        width: int
        names: tuple[str, ...] = ()

    parse_dataclass(Size, '{"width": 3}', "size", error=UsageError)                   # Size(width=3, names=())
    parse_dataclass(Size, '{"width": 3, "hight": 2}', "size", error=UsageError)
    # UsageError: size has an unknown key 'hight'; known keys: width, names

Fields may be dataclasses, texts, whole and other numbers, truths, `Literal`s, tuples, mappings from text, and
alternatives of these. A dataclass checks in its `__post_init__` what a type cannot say.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from maf_serving.errors import MafServingError

T = TypeVar("T")
Reader = Callable[[Any, str], Any]

_PLAIN: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}


def parse_dataclass(kind: type[T], text: str, where: str, *, error: type[MafServingError]) -> T:
    """The dataclass that JSON text holds, called `where` in errors. Raises `error` on anything else."""
    return typing.cast("T", read_value(kind, parse_json(text, where, error=error), where, error=error))


def parse_json(text: str, where: str, *, error: type[MafServingError]) -> Any:
    """What JSON text holds. Raises `error` if it is none, or has too many levels or digits."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise error(f"the {where} is not JSON: {problem}") from problem


def read_value(
    hint: Any,
    data: object,
    where: str,
    *,
    error: type[MafServingError],
    readers: Mapping[Any, Reader] = types.MappingProxyType({}),
) -> Any:
    """What `data`, which came out of JSON or YAML, says of a dataclass, or of another type that a field may have.

    Args:
      hint: the type.
      data: a mapping from the names of a dataclass's fields, a list of these, ...
      where: what it is called in errors; of a part, its place is added, as in `spec.models[0].name`.
      error: what to raise, with one line that says what came and what was expected.
      readers: by type of a field, what reads a value of that type, from the value and its place.
    """
    return _Reading(error, readers).read(hint, data, where)


def required_kind(hint: Any) -> Any:
    """The type of a field's values, with `| None` left out."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in typing.get_args(hint) else hint


class _Reading:
    def __init__(self, error: type[MafServingError], readers: Mapping[Any, Reader]) -> None:
        self._error = error
        self._readers = readers

    def read(self, hint: Any, value: Any, where: str) -> Any:  # noqa: PLR0911  # one for each kind of type
        """`value` as the type `hint`."""
        if hint in self._readers:
            return self._readers[hint](value, where)
        if dataclasses.is_dataclass(hint):
            return self._dataclass(typing.cast("Any", hint), value, where)
        if hint is Any:
            return value
        if hint in _PLAIN:
            return self._typed(value, hint, where)
        origin, parts = typing.get_origin(hint), typing.get_args(hint)
        if origin in {types.UnionType, typing.Union}:
            return self._alternative(hint, value, where)
        if origin is tuple:
            return self._tuple(parts, value, where)
        if origin is typing.Literal:
            return self._choice(parts, value, where)
        items = self._typed(value, dict, where)
        return {self._typed(k, str, where): self.read(parts[1], item, f"{where}.{k}") for k, item in items.items()}

    def _dataclass(self, kind: Any, value: Any, where: str) -> Any:
        if isinstance(value, kind):
            return value
        values = self._typed(value, dict, where)
        fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
        for key in values:
            if key not in fields:
                raise self._error(f"{where} has an unknown key {key!r}; known keys: {', '.join(fields)}")
        for name, field in fields.items():
            if name not in values and field.default is field.default_factory is dataclasses.MISSING:
                raise self._error(f"{where} lacks the key {name!r}")
        hints = _hints(kind)
        read = {name: self.read(hints[name], item, f"{where}.{name}") for name, item in values.items()}
        try:
            return kind(**read)
        except MafServingError as problem:
            if isinstance(problem, self._error):
                raise
            raise self._error(f"{where}: {problem}") from problem

    def _alternative(self, hint: Any, value: Any, where: str) -> Any:
        """`value` as the alternative that it fits; of one and null, what is wrong with it as that one."""
        kinds = typing.get_args(hint)
        others = [kind for kind in kinds if kind is not type(None)]
        if value is None and len(others) < len(kinds):
            return None
        if len(others) == 1 and (value is not None or dataclasses.is_dataclass(others[0])):
            return self.read(others[0], value, where)
        for kind in others:
            try:
                return self.read(kind, value, where)
            except self._error:
                continue
        raise self._error(f"{where} is {value!r}; expected {_shown(hint)}")

    def _tuple(self, parts: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
        items = value if isinstance(value, tuple) else self._typed(value, list, where)
        if len(parts) == 2 and parts[1] is Ellipsis:
            parts = (parts[0],) * len(items)
        if len(items) != len(parts):
            raise self._error(f"{where} has {len(items)} values; expected {len(parts)}")
        return tuple(
            self.read(part, item, f"{where}[{index}]")
            for index, (part, item) in enumerate(zip(parts, items, strict=True))
        )

    def _choice(self, choices: tuple[Any, ...], value: Any, where: str) -> Any:
        if value not in choices:
            raise self._error(f"{where} is {value!r}; expected one of {', '.join(map(str, choices))}")
        return value

    def _typed(self, value: Any, kind: type, where: str) -> Any:
        """`value` if it is of that kind; JSON's true and false are no numbers."""
        if not isinstance(value, _PLAIN.get(kind, (kind,))) or isinstance(value, bool) != (kind is bool):
            raise self._error(f"{where} is {value!r}; expected {_shown(kind)}")
        return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
