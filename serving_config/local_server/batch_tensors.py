"""The tensors of a batch: those of its requests one after the other, and the answers apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from maf_serving.codes import Code
from serving_config.local_server.errors import RequestError
from serving_config.local_server.regress import dtype_name

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array


def merged(requests: Sequence[Mapping[str, Array]], *, padding: int) -> dict[str, Array]:
    """The inputs of one run, by tensor name; the first row of the last request is repeated `padding` times.

    Raises:
      RequestError: if the requests differ in the type or the inner shape of a tensor. It is the answer to each of them.
    """
    return {name: _concatenated(name, [request[name] for request in requests], padding) for name in requests[0]}


def _concatenated(name: str, parts: list[Array], padding: int) -> Array:
    if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise RequestError(
            Code.FAILED_PRECONDITION,
            f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off."
            "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
            "have equal dimensions starting with the first dim.",
        )
    for part in parts:
        if part.dtype != parts[0].dtype:
            raise RequestError(
                Code.INTERNAL,
                "Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors that have different data "
                f"types. Got {_dtype_name(parts[0])} and {_dtype_name(part)}.",
            )
    if padding:
        parts = [*parts, np.repeat(parts[-1][:1], padding, axis=0)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def split(values: Sequence[Array], rows: Sequence[int], *, padding: int) -> list[list[Array]]:
    """The outputs of one run for each request, which had that many `rows`. Raises `RequestError`."""
    for value in values:
        if value.ndim == 0:
            raise RequestError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if value.shape[0] != sum(rows) + padding:
            raise RequestError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    ends = np.cumsum(rows).tolist()
    return [[value[end - size : end] for value in values] for end, size in zip(ends, rows, strict=True)]


def _dtype_name(array: Array) -> str:
    return dtype_name(array).removeprefix("DT_").lower()
