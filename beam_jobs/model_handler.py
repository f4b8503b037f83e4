"""A SavedModel signature as a model of Beam's `RunInference`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from beam_jobs.quiet_logs import quiet_native_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from beam_jobs.validation import ScoreableRows

_LOGGER = logging.getLogger(__name__)


class LoadedSignature:
    """A signature of a loaded SavedModel, with the model that owns its variables."""

    def __init__(self, model: Any, signature_name: str) -> None:
        self._model = model  # the signature alone does not keep the variables alive
        self.call: Callable[..., dict[str, Any]] = model.signatures[signature_name]


class SavedModelHandler(ModelHandler):  # type: ignore[misc]  # Beam is untyped here
    """Runs one signature on `ScoreableRows`, each of them a batch already.

    For `RunInference`. A result is a `PredictionResult` of the rows, the signature's outputs by name (numpy,
    `[B, ...]`) and the model's path. Beam's own handlers for TensorFlow load Keras models, which a SavedModel is not
    to Keras 3 (apache/beam #30616).

    TensorFlow is imported by the worker that loads the model.
    """

    def __init__(self, model_path: str, *, signature_name: str, threads: int | None = None) -> None:
        """See the class.

        Args:
          model_path: a version directory.
          signature_name: which of its signatures to run.
          threads: threads of TensorFlow in a worker process, or `None` for TensorFlow's own choice.
        """
        super().__init__()
        self._model_path = model_path
        self._signature_name = signature_name
        self._threads = threads

    def load_model(self) -> LoadedSignature:
        """Loads the SavedModel; called once in each worker process, whose threads share it."""
        with quiet_native_log():
            import tensorflow as tf  # noqa: PLC0415  # seconds long, and for workers alone

            if self._threads is not None:
                _limit_threads(tf, self._threads)
            return LoadedSignature(tf.saved_model.load(self._model_path), self._signature_name)

    def run_inference(
        self, batch: ScoreableRows, model: LoadedSignature, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """One call of the signature. A signature is a concrete function: another number of rows does not retrace."""
        import tensorflow as tf  # noqa: PLC0415  # loaded by `load_model`

        outputs = model.call(
            **{name: tf.constant(tensor) for name, tensor in batch.inputs.items()}, **(inference_args or {})
        )
        arrays = {name: output.numpy() for name, output in outputs.items()}
        return [PredictionResult(batch, arrays, self._model_path)]

    def should_skip_batching(self) -> bool:
        """Elements are batches: collecting them into lists would copy every row."""
        return True

    def get_num_bytes(self, batch: ScoreableRows) -> int:
        """Bytes that go into the model; Beam would pickle the batch to find out."""
        return sum(tensor.nbytes for tensor in batch.inputs.values())

    def get_metrics_namespace(self) -> str:
        """Namespace of the metrics of `RunInference`."""
        return f"SavedModel/{Path(self._model_path).name}/{self._signature_name}"


def _limit_threads(tf: Any, threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # TensorFlow has run in this process before
        _LOGGER.info("TensorFlow is running already; its thread pools stay as they are")
