"""Parts of the JSON that TensorFlow Serving answers, and the errors for what is something else."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from maf_serving.tensor_proto import DTYPE_NAMES
from serving_config.client.metadata import SignatureInfo, TensorInfo
from serving_config.errors import ResponseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving_config.client.transport import Array

_SHOWN = 300  # characters of an answer that is something else


@contextlib.contextmanager
def understanding(answer: Any) -> Iterator[None]:
    """Raises `ResponseError` where the answer holds something else than it should."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        raise ResponseError(f"the answer is not TensorFlow Serving's: {str(answer)[:_SHOWN]!r}") from error


def member(value: Any, name: str) -> Any:
    """What an object has under a name. Raises `ResponseError` if it has nothing there."""
    if not isinstance(value, dict) or name not in value:
        raise ResponseError(f"the answer has no {name!r} where TensorFlow Serving's has it")
    return value[name]


def read_array(name: str, value: Any, info: TensorInfo) -> Array:
    """An output as an array of its type. Raises `ResponseError` if it is none."""
    try:
        array = np.array(value, dtype=info.dtype)
    except (TypeError, ValueError) as error:
        raise ResponseError(f"output {name} is no array of {info.dtype}: {error}") from error
    return array


def read_signature(value: Any) -> SignatureInfo:
    """A `SignatureDef` of the metadata. Raises `ResponseError` if something is missing."""
    return SignatureInfo(
        _tensors(member(value, "inputs")), _tensors(member(value, "outputs")), str(member(value, "method_name"))
    )


def _tensors(infos: Any) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(
            dtype=DTYPE_NAMES.get(member(info, "dtype"), str(member(info, "dtype"))),
            shape=tuple(_size(dim) for dim in member(info, "tensor_shape").get("dim", ())),
        )
        for name, info in infos.items()
    }


def _size(dim: Any) -> int | None:
    size = int(member(dim, "size"))
    return None if size < 0 else size
