"""An exported version as something to compare itself with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.contract import ContractError, read_contract
from export.errors import VerificationError
from export.raw_rows import null_numbers
from export.rounded_weights import rounded
from export.signatures import ENCODE_CONDITION
from export.warmup import read_warmup
from maf_serving.columns import ConditionColumn, number_entries

if TYPE_CHECKING:
    from export.reference import Array, Function


class LoadedVersion:
    """A version in this process, through `tf.saved_model.load`: what verification compares with if there is no model.

    Attributes:
      dtype: of its inputs and outputs.
      functions: its signatures `log_prob`, `inverse` and `forward`.
    """

    def __init__(self, version_dir: Path) -> None:
        self._contract = read_contract(version_dir)
        self._warmup = read_warmup(version_dir)
        self._loaded = tf.saved_model.load(str(version_dir))
        self.dtype: np.dtype[Any] = np.dtype(self._contract.dtype)
        self.functions: dict[str, Function] = {
            name: self._function(name) for name in ("log_prob", "inverse", "forward")
        }

    def base_draws(self, rows: int, seed: int) -> Array:
        """`z` `[rows, D]`, standard normal: a version does not tell its base distribution."""
        return np.random.default_rng(seed).normal(size=(rows, self._contract.event_size)).astype(self.dtype)

    def rounded_weights(self, rng: np.random.Generator) -> AbstractContextManager[None]:
        """While it is open, every weight is off by one unit of rounding."""
        return rounded(self._loaded.model_variables, rng)

    def typical_conditions(self, size: int, rows: int, rng: np.random.Generator) -> Array:
        """Conditions `[rows, size]` of the warm-up records, 10 % more or less; standard normal without any."""
        noise = rng.normal(size=(rows, size))
        known = [r.inputs["conditional_input"] for r in self._warmup if "conditional_input" in r.inputs]
        return np.resize(np.concatenate(known), (rows, size)) * (1 + 0.1 * noise) if known else noise

    def null_values(self, columns: Sequence[ConditionColumn]) -> Array:
        """`[Kn]`, what stands in `conditional_input` for a null of each number, as the version itself encodes it."""
        raw = null_numbers(columns, self.dtype)
        inputs = {name: raw.inputs[name] for name in self._contract.signature(ENCODE_CONDITION).inputs}
        encoded = self._function(ENCODE_CONDITION)(inputs)["conditional_input"]
        return encoded[0, number_entries(columns)]

    def _function(self, name: str) -> Function:
        """A signature; raises `VerificationError` if the contract, which says what the version has, lacks it."""
        try:
            self._contract.signature(name)
        except ContractError as error:
            raise VerificationError(str(error)) from error
        signature = self._loaded.signatures[name]

        def function(inputs: Mapping[str, Array]) -> dict[str, Array]:
            outputs = signature(**{key: tf.constant(value) for key, value in inputs.items()})
            return {key: value.numpy() for key, value in outputs.items()}

        return function
