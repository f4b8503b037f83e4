"""Shuffled minibatches of rows that may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

WINDOW_BYTES = 2**26
BLOCK_ROWS = 8_192


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """How many minibatches `minibatches` yields: full ones only."""
    return num_rows // min(batch_size, num_rows)


def minibatches(
    rows: Array, *, batch_size: int, seed: int, epoch: int, first_step: int = 0, window_bytes: int = WINDOW_BYTES
) -> Iterator[Array]:
    """One epoch of minibatches `[batch_size, K]` of `rows` `[N, K]`, in an order that `seed` and `epoch` decide.

    Blocks of consecutive rows are taken in random order, as many at a time as fit into `window_bytes`, and shuffled row
    by row inside that window; where all rows fit this is a full shuffle. Only one window is in memory. Every row comes
    at most once; the fewer than `batch_size` that do not fill a minibatch are others in each epoch.

    Args:
      rows: an array or a memory-mapped file.
      batch_size: rows of each minibatch; all of them if there are fewer.
      seed: of the run; with `epoch` it decides the order.
      epoch: counts passes over the rows.
      first_step: minibatches to skip from the start, without reading more than one window of them.
      window_bytes: memory for one window.
    """
    batch_size = min(batch_size, len(rows))
    block_rows = batch_size * max(1, BLOCK_ROWS // batch_size)
    starts = np.random.default_rng([seed, epoch]).permutation(np.arange(0, len(rows), block_rows))
    blocks = max(1, window_bytes // (block_rows * rows.itemsize * rows.shape[1]))
    for window in range(0, len(starts), blocks):
        chosen = starts[window : window + blocks]
        size = sum(min(block_rows, len(rows) - start) for start in chosen)
        steps = size // batch_size
        if first_step >= steps:
            first_step -= steps
            continue
        gathered = np.concatenate([rows[start : start + block_rows] for start in chosen])
        order = np.random.default_rng([seed, epoch, window]).permutation(size)
        for step in range(first_step, steps):
            yield gathered[order[step * batch_size : (step + 1) * batch_size]]
        first_step = 0
