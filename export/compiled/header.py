"""What every unit of a network sees."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from export.compiled.packed_matrices import lacking_rows
from export.compiled.rows import join


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """The rows that every unit sees: ones for the biases, and the condition; filled up with zeros, as `align` does.

    Attributes:
      ones: `[H, B]`.
      with_condition: `[H', B]`.
    """

    ones: tf.Tensor
    with_condition: tf.Tensor

    @classmethod
    def of_condition(cls, condition: tf.Tensor | None, ones: tf.Tensor) -> Header:
        """`condition` `[E, B]`, or `None`; `ones` `[1, B]`."""
        only_ones = _fill_up([ones])
        return cls(only_ones, only_ones if condition is None else _fill_up([ones, condition]))

    def seen(self, *, condition: bool) -> tf.Tensor:
        """The header of a kernel that starts with rows for the condition, or of one that does not."""
        return self.with_condition if condition else self.ones


def _fill_up(parts: list[tf.Tensor]) -> tf.Tensor:
    zeros = [tf.zeros_like(parts[0])] * lacking_rows(sum(part.shape[0] for part in parts))
    return join([*parts, *zeros])
