"""A SavedModel signature as a model of Beam's `RunInference`."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from beam_jobs.errors import JobError
from beam_jobs.model_location import ModelLocation
from maf_serving.model_inputs import count_bytes, encode_rows
from maf_serving.quiet_tensorflow import LEVEL_VARIABLE, quietly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from maf_serving.model_inputs import ModelRows

_LOGGER = logging.getLogger(__name__)
_OF_TWO_EXPORTS = "its contract.json says otherwise: the two are not of one export; export the model again"


class LoadedModel:
    """A loaded SavedModel; it owns the variables of its signatures."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def run(
        self, signature_name: str, inputs: Mapping[str, npt.NDArray[np.generic]], **more: Any
    ) -> dict[str, npt.NDArray[Any]]:
        """The outputs of a signature by name, `[B, ...]`. Another number of rows does not retrace."""
        import tensorflow as tf  # noqa: PLC0415  # loaded by `load_model`

        signature = self._signature(signature_name)
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        _check_inputs(signature_name, signature, tensors)
        outputs = signature(**tensors, **more)
        return {name: output.numpy() for name, output in outputs.items()}

    def _signature(self, name: str) -> Any:
        if name not in self._model.signatures:
            raise JobError(f"saved_model.pb has no signature {name!r}; {_OF_TWO_EXPORTS}")
        return self._model.signatures[name]


class SavedModelHandler(ModelHandler):  # type: ignore[misc]  # Beam is untyped here
    """Runs one signature on `ModelRows`, each of them a batch already; before it `encode_condition`, on raw conditions.

    For `RunInference`. A result is a `PredictionResult` of the rows, the signature's outputs by name (numpy,
    `[B, ...]`) and the model's path. Beam's own handlers for TensorFlow load Keras models, which a SavedModel is not
    to Keras 3 (apache/beam #30616).

    TensorFlow is imported by the worker that loads the model.
    """

    def __init__(self, model: str | ModelLocation, *, signature_name: str, threads: int | None = None) -> None:
        """See the class.

        Args:
          model: a version directory, or its URL on any of Beam's file systems.
          signature_name: which of its signatures to run.
          threads: threads of TensorFlow in a worker process, or `None` for TensorFlow's own choice.

        Raises:
          UsageError: the URL cannot be listed.
        """
        super().__init__()
        self._model = model if isinstance(model, ModelLocation) else ModelLocation.at(model)
        self._signature_name = signature_name
        self._threads = threads

    def load_model(self) -> LoadedModel:
        """Loads the SavedModel; called once in each worker process, whose threads share it.

        A remote one is copied to this machine first, and the copy deleted: its variables are in memory by then.
        """
        # A pipeline of the user's own has its own log.
        with quietly() if LEVEL_VARIABLE in os.environ else contextlib.nullcontext():
            import tensorflow as tf  # noqa: PLC0415  # seconds long, and for workers alone

            if self._threads is not None:
                _limit_threads(tf, self._threads)
            with self._model.local_copy() as directory:
                return LoadedModel(tf.saved_model.load(directory))

    def run_inference(
        self, batch: ModelRows, model: LoadedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """One call of the signature, and one that encodes a raw condition."""
        batch = encode_rows(batch, model.run)
        outputs = model.run(self._signature_name, batch.inputs, **(inference_args or {}))
        return [PredictionResult(batch, outputs, self._model.path)]

    def should_skip_batching(self) -> bool:
        """Elements are batches: collecting them into lists would copy every row."""
        return True

    def get_num_bytes(self, batch: ModelRows) -> int:
        """Bytes that go into the model; Beam would pickle the batch to find out."""
        return count_bytes(batch)

    def get_metrics_namespace(self) -> str:
        """Namespace of the metrics of `RunInference`."""
        return f"SavedModel/{self._model.version}/{self._signature_name}"


def _check_inputs(signature_name: str, signature: Any, tensors: Mapping[str, Any]) -> None:
    """Raises `JobError` unless inputs are what the graph takes: TensorFlow does not ask, and may broadcast."""
    for name, spec in signature.structured_input_signature[1].items():
        came = tensors.get(name)
        if came is None or came.dtype != spec.dtype or not spec.shape.is_compatible_with(came.shape):
            what = "none" if came is None else f"{came.dtype.name} {came.shape}"
            raise JobError(
                f"saved_model.pb takes {name} of {spec.dtype.name} {spec.shape} in {signature_name!r} and got {what}; "
                f"{_OF_TWO_EXPORTS}"
            )


def _limit_threads(tf: Any, threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # TensorFlow has run in this process before
        _LOGGER.info("TensorFlow is running already; its thread pools stay as they are")
