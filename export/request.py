"""One call of a signature, and files of such calls."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One call: a name that tells it from others, a signature, and its inputs by name.

    Texts are arrays of `bytes` objects.
    """

    name: str
    signature: str
    inputs: Mapping[str, Array]


def write_requests(path: Path, requests: Sequence[Request]) -> None:
    """Writes what `read_requests` reads."""
    write_arrays(path, {array_key(r.name, r.signature, k): _written(v) for r in requests for k, v in r.inputs.items()})


def read_requests(path: Path) -> list[Request]:
    """The requests in a file."""
    inputs: dict[tuple[str, str], dict[str, Array]] = {}
    with np.load(path) as archive:
        for key, value in archive.items():
            name, signature, tensor = key.split("|")
            inputs.setdefault((name, signature), {})[tensor] = _read(value)
    return [Request(name, signature, tensors) for (name, signature), tensors in inputs.items()]


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes what `np.load` reads."""
    entries: Any = arrays  # NumPy's stubs take every keyword for `allow_pickle`
    np.savez(path, **entries)


def array_key(*parts: str) -> str:
    """One name for an array in a file, of names without `|`."""
    return "|".join(parts)


def _written(value: Array) -> Array:
    """Texts in base64: NumPy's own fixed-width texts lose zeros at the end."""
    if value.dtype.kind != "O":
        return value
    return _of_shape(value, np.array([base64.b64encode(text) for text in value.ravel()], np.bytes_))


def _read(value: Array) -> Array:
    if value.dtype.kind != "S":
        return value
    return _of_shape(value, np.array([base64.b64decode(text) for text in value.ravel()], object))


def _of_shape(value: Array, flat: Array) -> Array:
    shaped: Array = flat.reshape(value.shape)
    return shaped
