"""Scalars of a fit for TensorBoard, written with TensorFlow alone: the `tensorboard` package is only needed to look."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import SummaryMetadata

_SCALAR = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))


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
