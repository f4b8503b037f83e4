"""Inputs on which an exported version is compared with its model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from export.raw_rows import RawRows, draw_raw_rows

if TYPE_CHECKING:
    from export.reference import Reference
    from maf_serving.columns import ConditionColumn

Array = np.ndarray[Any, Any]
TYPICAL_ROWS = 128
FAR_ROWS = 64
_OF_MODEL = ("x", "z", "conditional_input")


@dataclasses.dataclass(frozen=True, slots=True)
class VerificationInputs:
    """One array for every input that a signature can have; rows past `TYPICAL_ROWS` lie far in the tails.

    Attributes:
      arrays: `x` and `z` `[N, D]`, `conditional_input` `[N, C]` if there is one, `seed` `[N]`; what the signatures for
        raw columns take, if there are any.
      raw: the raw columns that `conditional_input` is the encoding of; `None` if they are plain numbers.
    """

    arrays: Mapping[str, Array]
    raw: RawRows | None = None

    def of(self, names: Iterable[str]) -> dict[str, Array]:
        """The inputs of a signature that has inputs `names`."""
        return {name: self.arrays[name] for name in names}

    def typical(self, rows: int) -> VerificationInputs:
        """As many rows as wanted, near the middle of the model and finite; they repeat where there are too few."""
        of_model = self.of(name for name in _OF_MODEL if name in self.arrays)
        columns = [value[:TYPICAL_ROWS].reshape(TYPICAL_ROWS, -1) for value in of_model.values()]
        finite = np.all([np.isfinite(value).all(axis=1) for value in columns], axis=0)
        index = np.resize(np.flatnonzero(finite), rows)
        return VerificationInputs({name: value[index] for name, value in self.arrays.items()})


def make_inputs(
    model: Reference,
    *,
    condition_size: int,
    seed: int,
    event_columns: Sequence[str] = (),
    condition_columns: Sequence[ConditionColumn] = (),
) -> VerificationInputs:
    """Conditions as in training, x from the model itself at those conditions, and tails of all of them.

    Far rows: z 3 times as far from zero, x 10 times as far from its median, conditions 3 times as far from their mean.
    Where the condition has raw columns it is the encoding of some: numbers as above, categories and nulls at random.
    """
    rng = np.random.default_rng(seed)
    rows = TYPICAL_ROWS + FAR_ROWS
    far = np.arange(rows) >= TYPICAL_ROWS
    arrays = {"z": model.base_draws(rows, seed), "seed": rng.integers(-(2**63), 2**63 - 1, size=rows)}
    raw = None
    if condition_size:
        conditions = model.typical_conditions(condition_size, rows, rng)
        conditions = _pushed(conditions, far, 3.0, conditions.mean(axis=0)).astype(model.dtype)
        if condition_columns:
            raw = draw_raw_rows(condition_columns, conditions, rng)
            conditions = raw.encode(model.null_values(condition_columns))
        arrays["conditional_input"] = conditions
    x = model.functions["forward"]({name: value for name, value in arrays.items() if name != "seed"})["x"]
    arrays["x"] = _pushed(x, far, 10.0, np.median(x[~far], axis=0)).astype(model.dtype)
    arrays["z"] = _pushed(arrays["z"], far, 3.0, np.zeros(1)).astype(model.dtype)
    if raw is not None:
        arrays |= {**raw.inputs, "examples": raw.examples(event_columns, arrays["x"])}
    return VerificationInputs(arrays, raw)


def _pushed(values: Array, far: Array, factor: float, centre: Array) -> Array:
    """`values` `[N, K]`, the far rows `factor` times as far from `centre`."""
    return np.where(far[:, np.newaxis], centre + factor * (values - centre), values)
