"""Writes JSON values the way TF Serving writes them: in error messages, and numbers in answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array

LONGEST = 4096  # characters of a value that an error message shows
_AT_ONCE = 2**12  # numbers that are written together
_INDENT = "    "


def shown(value: Any) -> str:
    """A value of a request, for the error that complains of it; a long one is cut off."""
    if type(value) is float:
        return decimals(np.array([value]))[0]
    parts: list[str] = []
    length = 0
    for part in _written(value, 0):
        parts.append(part)
        length += len(part)
        if length > LONGEST:
            return "".join(parts)[:LONGEST] + "..."
    return "".join(parts)


def type_name(value: Any) -> str:
    """What the real parser calls the type of a value."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def decimals(values: Array) -> list[str]:
    """Floating-point numbers as text: six digits where they are enough, else as many as the type may need.

    A whole number gets `.0`; what is not finite is `NaN`, `Infinity` or `-Infinity`.
    """
    flat = values.ravel()
    # Some at a time: formatting and NumPy keep every other thread waiting.
    return [text for start in range(0, flat.size, _AT_ONCE) for text in _decimals(flat[start : start + _AT_ONCE])]


def _decimals(values: Array) -> list[str]:
    wide: list[float] = values.astype(np.float64).tolist()
    short = ("%.6g " * len(wide) % tuple(wide)).split()
    with np.errstate(over="ignore"):
        same = np.array(short, np.float64).astype(values.dtype) == values
    digits = 17 if values.dtype == np.float64 else 9
    return [
        _pointed(text) if good else _special(value) or _pointed(f"{value:.{digits}g}")
        for text, value, good in zip(short, wide, (same & np.isfinite(values)).tolist(), strict=True)
    ]


def compact(tokens: Sequence[str], shape: Sequence[int]) -> list[str]:
    """One text for each entry of the 0th dimension: the rest of `shape` as lists on one line."""
    texts = list(tokens)
    for depth in reversed(range(1, len(shape))):
        size = shape[depth]
        groups = range(math.prod(shape[:depth]))
        texts = ["[" + ", ".join(texts[i * size : (i + 1) * size]) + "]" for i in groups]
    return texts


def _pointed(text: str) -> str:
    return text if "." in text or "e" in text else text + ".0"


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else ""


def _written(value: Any, level: int) -> Iterator[str]:
    """Objects over several lines, lists on one; both count as a level of indentation."""
    if isinstance(value, dict) and value:
        yield "{"
        for number, (key, member) in enumerate(value.items()):
            yield f"{',' if number else ''}\n{_INDENT * (level + 1)}{_quoted(key)}: "
            yield from _written(member, level + 1)
        yield f"\n{_INDENT * level}}}"
    elif isinstance(value, list):
        yield "["
        for number, element in enumerate(value):
            if number:
                yield ", "
            yield from _written(element, level + 1)
        yield "]"
    elif type(value) is float:
        yield repr(value).replace("e+", "e")
    else:
        yield _quoted(value)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
