"""What `batch_scoring` compares with: Beam with a dictionary for each row."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

Row = dict[str, Any]


class RowHandler(ModelHandler):  # type: ignore[misc]  # Beam is untyped here
    """A SavedModel on rows, which Beam collects into lists of the size that it finds best."""

    def __init__(self, model: str, event: Sequence[str], condition: Sequence[str]) -> None:
        super().__init__()
        self._model = model
        self._event = event
        self._condition = condition

    def load_model(self) -> Any:
        """Loads the SavedModel."""
        import tensorflow as tf  # noqa: PLC0415  # by the worker

        return tf.saved_model.load(self._model)

    def run_inference(
        self, batch: Sequence[Row], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """One call for a list of rows."""
        import tensorflow as tf  # noqa: PLC0415  # by the worker

        x, c = (
            np.array([[row[name] for name in names] for row in batch], np.float32)
            for names in (self._event, self._condition)
        )
        inputs = {"x": tf.constant(x), "conditional_input": tf.constant(c), **(inference_args or {})}
        log_prob = model.signatures["log_prob"](**inputs)["log_prob"].numpy()
        return [PredictionResult(row, value) for row, value in zip(batch, log_prob, strict=True)]


def score_dictionaries(model: str, source: str, output: str, event: Sequence[str], condition: Sequence[str]) -> None:
    """Scores a Parquet file into another, on threads of this process, one for each core."""
    Path(output).mkdir()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    options = PipelineOptions(["--direct_running_mode=multi_threading", f"--direct_num_workers={cores}"])
    schema = pa.schema([("log_prob", pa.float32())])
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        (
            pipeline
            | beam.io.ReadFromParquet(source, columns=[*event, *condition])
            | RunInference(RowHandler(model, event, condition))
            | beam.Map(lambda result: {"log_prob": result.inference})
            | beam.io.WriteToParquet(f"{output}/scored", schema)
        )
