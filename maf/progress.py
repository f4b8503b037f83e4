"""What a person sees of a run: bars on a terminal, a line for each epoch everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from maf.training_state import EpochRecord


@contextmanager
def reading_progress() -> Iterator[Callable[[int], None]]:
    """A counter of rows read; yields what is to be called with each number of further rows."""
    with tqdm(desc="reading", unit=" rows", unit_scale=True, disable=None, leave=False) as bar:

        def on_rows(rows: int) -> None:
            bar.update(rows)

        yield on_rows


class EpochProgress:
    """A bar over the steps of an epoch, with NLL and rows/s, and a line when the epoch is done."""

    def __init__(self, announce: Callable[[str], object]) -> None:
        self._announce = announce
        self._bar: Any = None

    def on_step(self, epoch: int, step: int, steps: int, nll: float, rows: int) -> None:
        """Moves the bar to `step` of `steps`."""
        if self._bar is None:
            self._bar = tqdm(
                desc=f"epoch {epoch + 1}",
                total=steps * rows,
                initial=(step - 1) * rows,
                unit=" rows",
                unit_scale=True,
                disable=None,
                leave=False,
            )
        self._bar.set_postfix_str(f"NLL {nll:.4f}", refresh=False)
        self._bar.update(rows)

    def on_epoch(self, record: EpochRecord, *, rows_per_second: float, is_best: bool) -> None:
        """Closes the bar and says how the epoch went."""
        self.close()
        best = "*" if is_best else " "
        self._announce(
            f"epoch {record.epoch:3d}  NLL training {record.training_nll:8.4f}  validation "
            f"{record.validation_nll:8.4f} {best}  learning rate {record.learning_rate:.1e}  "
            f"{rows_per_second:9,.0f} rows/s"
        )

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
