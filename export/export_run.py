"""Exports what `python -m maf` has trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from export.contract import TrainingSummary
from export.saved_model import ExportedVersion, export_and_report
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
