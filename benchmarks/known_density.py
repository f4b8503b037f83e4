"""What a conditional density with a known answer is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class KnownDensity:
    """A joint distribution of c and x with the exact log p(x | c).

    Attributes:
      sample: number of rows and a generator to `x` `[N, D]` and `c` `[N, C]`, C may be 0.
      log_prob: of `x` given `c`, `[N]`, nats.
      lower, upper: what x is never below, or above.
      is_told: whether the flow is given these bounds.
    """

    sample: Callable[[int, np.random.Generator], tuple[Array, Array]]
    log_prob: Callable[[Array, Array], Array]
    lower: float = -math.inf
    upper: float = math.inf
    is_told: bool = True


def log_normal(x: Array, loc: Any, scale: Any) -> Array:
    """Log-density of a normal, element by element, nats."""
    result: Array = -0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)
    return result
