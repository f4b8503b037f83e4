"""Weights off by one unit of rounding, to see how far rounding moves what a model computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def rounded(variables: Iterable[Any], rng: np.random.Generator) -> Iterator[None]:
    """While it is open, every floating-point weight is off by one unit of rounding, up or down; then all are as before.

    Weights that are zero stay zero, and masks hold.
    """
    before = [(variable, variable.numpy()) for variable in variables if variable.dtype.is_floating]
    try:
        for variable, value in before:
            step = np.finfo(value.dtype).eps * rng.choice([-1.0, 1.0], size=value.shape)
            variable.assign(np.asarray(value * (1 + step), value.dtype))
        yield
    finally:
        for variable, value in before:
            variable.assign(value)
