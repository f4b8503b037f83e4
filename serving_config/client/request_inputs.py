"""What is checked of arrays before they are sent: TensorFlow Serving does not check shapes, and broadcasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from serving_config.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from serving_config.client.metadata import SignatureInfo, TensorInfo
    from serving_config.client.transport import Array, Arrays

_EXPECTED = {"string": "text", "bool": "truth values"}


def request_inputs(signature_name: str, signature: SignatureInfo, given: Mapping[str, npt.ArrayLike]) -> Arrays:
    """The arrays in the types that the signature wants.

    Raises:
      InputError: an input is missing or unknown, has another width, or other rows than its neighbour.
    """
    if set(given) != set(signature.inputs):
        raise InputError(
            f"signature {signature_name} takes {', '.join(sorted(signature.inputs)) or 'no input'}; "
            f"given: {', '.join(sorted(given)) or 'none'}"
        )
    arrays = {name: _array(name, value, signature.inputs[name]) for name, value in given.items()}
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise InputError(f"inputs differ in their rows: {counts}; expected as many of each")
    return arrays


def given_inputs(**arrays: npt.ArrayLike | None) -> dict[str, npt.ArrayLike]:
    """Those that are given: an unconditional model has no conditional input."""
    return {name: array for name, array in arrays.items() if array is not None}


def empty_outputs(signature: SignatureInfo) -> Arrays:
    """What a model answers to no rows."""
    return {
        name: np.empty((0, *(size or 0 for size in info.shape[1:])), info.dtype)
        for name, info in signature.outputs.items()
    }


def _fits(array: Array, dtype: str) -> bool:
    """Whether an array of that type can be sent as the type of an input."""
    if dtype == "string":
        return array.dtype.kind in "SU" or (
            array.dtype.kind == "O" and all(isinstance(value, (str, bytes)) for value in array.flat)
        )
    if dtype == "bool":
        return array.dtype.kind == "b"
    return array.dtype.kind in "fiu" and not (dtype.startswith("int") and array.dtype.kind == "f")


def _bytes(array: Array) -> Array:
    """Text as bytes, of dtype object."""
    encoded = np.empty(array.size, object)
    encoded[:] = [value if isinstance(value, bytes) else str(value).encode() for value in array.flat]
    shaped: Array = encoded.reshape(array.shape)
    return shaped


def _array(name: str, value: npt.ArrayLike, info: TensorInfo) -> Array:
    array = np.asarray(value)
    if not _fits(array, info.dtype):
        expected = _EXPECTED.get(info.dtype, "numbers")
        raise InputError(f"{name} is of type {array.dtype}; expected {expected} for {info.dtype}")
    if not info.shape or info.shape[0] is not None:
        raise InputError(f"{name} has the shape {list(info.shape)} in the model; expected rows as its first dimension")
    fits = array.ndim == len(info.shape) and all(
        want is None or size == want for size, want in zip(array.shape[1:], info.shape[1:], strict=False)
    )
    if not fits:
        expected = ", ".join(["B", *("any" if size is None else str(size) for size in info.shape[1:])])
        raise InputError(f"{name} has shape {list(array.shape)}; the model expects [{expected}]")
    if info.dtype == "string":
        return _bytes(array)
    with np.errstate(over="ignore"):  # beyond float32 is infinite there, as on the server
        return array.astype(info.dtype, copy=False)
