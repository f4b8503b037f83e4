"""A SavedModel signature as a model of Beam's `RunInference`."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from beam_jobs.model.location import ModelLocation
from maf_serving.model_inputs import ModelRows, count_bytes, encode_rows
from maf_serving.quiet_tensorflow import LEVEL_VARIABLE, quietly
from maf_serving.saved_model import LoadedModel

if TYPE_CHECKING:
    from collections.abc import Iterable


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
        quiet = quietly() if LEVEL_VARIABLE in os.environ else contextlib.nullcontext()
        with quiet, self._model.local_copy() as directory:
            return LoadedModel.load(directory, threads=self._threads)

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
