"""One seed for each draw, from one seed for all: the same for a row wherever it stands in a request."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving_config.errors import InputError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def row_seeds(seed: int, rows: npt.ArrayLike, draws: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Seeds of the draws of the rows, for `sample_with_seed`.

    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), twice: a row's stream
    is split off the seed's, a draw's off the row's. So draw n of row i is the same however many are drawn.

    Args:
      seed: any integer of 64 bits.
      rows: numbers of the rows; broadcasts with `draws`.
      draws: numbers of the draws of a row.
    """
    if not -(2**63) <= seed < 2**64:
        raise InputError(f"seed is {seed}; expected an integer of 64 bits")
    state = np.array(seed % 2**64, dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic is modulo 2^64
        for index in (rows, draws):
            state = _mix(state + _GOLDEN * (np.asarray(index).astype(np.uint64) + np.uint64(1)))
    return np.asarray(state).view(np.int64)


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    for shift, factor in _MIX:
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(state ^ (state >> np.uint64(31)))
