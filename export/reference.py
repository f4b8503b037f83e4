"""The one interface to what an exported version is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from maf_serving.columns import ConditionColumn

Array = np.ndarray[Any, Any]
Function = Callable[[Mapping[str, Array]], dict[str, Array]]


class Reference(Protocol):
    """A model as functions of arrays, and typical inputs to it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its inputs and outputs."""
        ...

    @property
    def functions(self) -> Mapping[str, Function]:
        """`log_prob`, `inverse` and `forward` as the signatures of these names."""
        ...

    def base_draws(self, rows: int, seed: int) -> Array:
        """`z` `[rows, D]` drawn from the base distribution."""
        ...

    def rounded_weights(self, rng: np.random.Generator) -> AbstractContextManager[None]:
        """While it is open, every weight is off by one unit of rounding, up or down as `rng` says."""
        ...

    def typical_conditions(self, size: int, rows: int, rng: np.random.Generator) -> Array:
        """Conditions `[rows, size]` such as the model may have been trained on."""
        ...

    def null_values(self, columns: Sequence[ConditionColumn]) -> Array:
        """`[Kn]`, what stands in `conditional_input` for a null of each number among the raw columns."""
        ...
