"""Exports what `python -m maf` has trained, or a distribution of your own: builder and checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from export.builder import build
from export.check_model import check_masks, check_model, check_weights
from export.checkpoint import check_checkpoint, restore
from export.contract import ConditionColumn, TrainingSummary
from export.saved_model import ExportedVersion, export_and_report, read_columns
from maf.routing import make_bijector_kwargs
from maf.run_directory import Run, load_run
from maf_serving.command import silent

if TYPE_CHECKING:
    from maf_serving.batching import BatchingParameters


def export_run(
    run: str | Path | Run,
    model_base: str | Path,
    *,
    version: int | None = None,
    warmup_batch_sizes: Sequence[int] = (1,),
    batching: BatchingParameters | None = None,
    announce: Callable[[str], object] = silent,
) -> ExportedVersion:
    """Exports the trained model of a run directory as the next version in `model_base`.

    Args:
      run: a finished run, or its directory.
      model_base: directory of the model's versions, local or remote.
      version: number of the version; `None` for one more than the greatest there is.
      warmup_batch_sizes: numbers of rows of the warm-up requests, as in `export_saved_model`.
      batching: parameters of this model's batching, as in `export_saved_model`.
      announce: takes a line for each step, before it begins.

    Raises:
      RunError: if the run is none, not finished or damaged.
      ExportError: as `export_saved_model` does.
    """
    loaded = run if isinstance(run, Run) else load_run(run)
    return export_and_report(
        loaded.distribution,
        model_base,
        event_columns=loaded.event_columns,
        condition_columns=loaded.condition_columns,
        version=version,
        warmup_batch_sizes=warmup_batch_sizes,
        batching=batching,
        announce=announce,
        training=training_summary(loaded),
    )


def training_summary(run: Run) -> TrainingSummary:
    """How a run went, as a contract says it."""
    summary = run.training_summary
    return TrainingSummary(
        training_rows=summary.training_rows,
        validation_rows=summary.validation_rows,
        test_rows=summary.test_rows,
        epochs=summary.epochs,
        validation_nll=summary.validation_nll,
        test_nll=summary.test_nll,
        dequantization=run.dequantization,
    )


def export_checkpoint(
    builder: str,
    checkpoint: str | Path,
    model_base: str | Path,
    *,
    event_columns: Sequence[str],
    conditional_columns: Sequence[str] = (),
    condition_columns: Sequence[ConditionColumn] = (),
    version: int | None = None,
    warmup_batch_sizes: Sequence[int] = (1,),
    batching: BatchingParameters | None = None,
    announce: Callable[[str], object] = silent,
) -> ExportedVersion:
    """Exports the model of `builder` with the weights of `checkpoint` as the next version in `model_base`.

    Args:
      builder: `package.module:function`; the function takes no arguments and returns the untrained distribution, or a
        tuple of it and of the object that was saved, a Keras model for example.
      checkpoint: directory or prefix of a `tf.train.Checkpoint`, or a `.weights.h5` file of Keras.
      model_base: directory of the model's versions, local or remote.
      event_columns: names of the D columns of `x`, in order.
      conditional_columns: names of the C columns of `conditional_input`, in order.
      condition_columns: instead of these, the raw columns of the condition, as in `export_saved_model`.
      version: number of the version; `None` for one more than the greatest there is.
      warmup_batch_sizes: numbers of rows of the warm-up requests, as in `export_saved_model`.
      batching: parameters of this model's batching, as in `export_saved_model`.
      announce: takes a line for each step, before it begins.

    Raises:
      ContractError: if of the condition both lists are given.
      OptionError: if there is no such function or checkpoint.
      ModelError: if the function does not return a distribution of these columns, or its masks were not kept.
      CheckpointError: if not every variable gets a value, or not every value of the model a variable.
      ExportError: as `export_saved_model` does.
    """
    path = Path(checkpoint)
    check_checkpoint(path)
    encoded = read_columns(conditional_columns, condition_columns).conditional_columns
    built = build(builder)
    check_model(built.distribution, event_columns, encoded)  # layers have no variables before their call
    used = used_variables(built.distribution, len(event_columns), len(encoded))
    restore(built, path, used)
    check_weights(used)
    check_masks(used)
    return export_and_report(
        built.distribution,
        model_base,
        event_columns=event_columns,
        conditional_columns=conditional_columns,
        condition_columns=condition_columns,
        version=version,
        warmup_batch_sizes=warmup_batch_sizes,
        batching=batching,
        announce=announce,
    )


def used_variables(distribution: Any, event_size: int, condition_size: int) -> list[tf.Variable]:
    """Every variable that the log-density reads, once, wherever the model keeps it: in a closure too."""

    def log_prob(x: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        condition = {"conditional_input": c} if condition_size else {}
        kwargs = make_bijector_kwargs(distribution.bijector, condition)
        return distribution.log_prob(x, bijector_kwargs=kwargs)

    specs = [tf.TensorSpec([2, size], distribution.dtype) for size in (event_size, condition_size)]
    graph = tf.function(log_prob, autograph=False).get_concrete_function(*specs).graph
    return list({id(variable): variable for variable in graph.variables}.values())
