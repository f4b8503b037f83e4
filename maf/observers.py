"""What a person sees of a run: bars on a terminal, a line for each epoch, and scalars for TensorBoard.

The scalars are written with TensorFlow alone: the `tensorboard` package is only needed to look at them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import SummaryMetadata
from tqdm import tqdm

if TYPE_CHECKING:
    from maf.run_directory import EpochRecord

_SCALAR = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))


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


class TensorBoard:
    """Appends scalars to the event files of a directory; a context manager that closes them.

    Raises:
      OSError: if they cannot be written; TensorFlow has errors of its own for that.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> TensorBoard:
        with self._as_os_error():
            self._writer = tf.summary.create_file_writer(str(self._directory))
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Writes each scalar under its name, and makes them visible."""
        with self._as_os_error():
            with self._writer.as_default():
                for name, value in scalars.items():
                    tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=_SCALAR)
            self._writer.flush()

    @contextlib.contextmanager
    def _as_os_error(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            raise OSError(f"{self._directory} cannot be written: {' '.join(str(error).split())}") from error
