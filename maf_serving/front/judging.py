"""Judging models and rows in Python: the Beam pipelines of `maf-serving compare` and `drift`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from maf_serving.front.jobs import JobKeywords, beam_options, in_files, job_options
from maf_serving.front.tables import table_paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from typing_extensions import Unpack

    from beam_jobs.evaluation.drift_report import DriftSummary
    from beam_jobs.jobs.compare import CompareSummary


def compare(
    model: str | Path,
    baseline: str | Path,
    table: Any,
    *,
    output: str | Path,
    group_column: str | None = None,
    max_groups: int = 100,
    crps_rows: int = 4096,
    beam_flags: Sequence[str] = (),
    **options: Unpack[JobKeywords],
) -> CompareSummary:
    """Says whether a model is better than another on the same rows, as `maf-serving compare` does, and writes a report.

        >>> compared = ms.compare("models/sales", "models/sales", "new-0.parquet", output="out/compared")
        >>> compared.verdict, compared.overall.nll_difference
        ('no different', 0.0)

    Args:
      model: the one that is judged, as of `ms.score`.
      baseline: the one that it is compared with, of the same event columns; the conditions may be others.
      table: as of `ms.score`, with the columns of both.
      output: the directory to be made.
      group_column: as of `ms.evaluate`.
      max_groups: as of `ms.evaluate`.
      crps_rows: as of `ms.evaluate`.
      beam_flags: as of `ms.score`.
      **options: see `JobKeywords`.

    Returns:
      What is written to `_summary.json`: the verdict, the difference of the NLL in nats and its noise, CRPS, latency.

    Raises:
      UsageError: something does not fit, seen before anything was started.
      JobError: the job failed; nothing is left at `output`.
    """
    from beam_jobs.jobs.compare import compare_table  # noqa: PLC0415  # Beam: seconds
    from beam_jobs.options.judging import CompareOptions  # noqa: PLC0415

    own: dict[str, Any] = {"group_column": group_column, "max_groups": max_groups, "crps_rows": crps_rows}
    own["baseline"] = str(baseline)
    with job_options(CompareOptions, model, table, output, own, options, others=(group_column,)) as asked:
        return compare_table(asked, beam_options(beam_flags))


def drift(
    model: str | Path,
    table: Any,
    *,
    output: str | Path,
    max_ks: float = 0.05,
    max_psi: float = 0.1,
    max_share_change: float = 0.01,
    baseline_table: Any = None,
    key_column: str | None = None,
    max_nll_change: float = 0.05,
    beam_flags: Sequence[str] = (),
    **options: Unpack[JobKeywords],
) -> DriftSummary:
    """Says whether rows are like those of the model's training, as `maf-serving drift` does, and writes a report.

        >>> found = ms.drift("models/sales", "new-0.parquet", output="out/drift")
        >>> {each.column: each.verdict for each in found.columns}
        {'price': 'no drift', 'season': 'no drift', 'region': 'no drift'}

    Args:
      model: as of `ms.score`; of a run that has kept a profile of its training rows.
      table: as of `ms.score`.
      output: the directory to be made.
      max_ks: a Kolmogorov-Smirnov distance up to this is no drift, however sure it is.
      max_psi: the same of the population stability index.
      max_share_change: the same of a change of the share of nulls, or of values outside what training saw.
      baseline_table: earlier rows of the same things, as `table`: the NLL is compared with theirs row by row as well.
      key_column: the column that says which row of the one is which of the other; needed with `baseline_table`.
      max_nll_change: a mean difference up to this, in nats, is no drift.
      beam_flags: as of `ms.score`.
      **options: see `JobKeywords`.

    Returns:
      What is written to `_summary.json`: the verdict, and of each column and the NLL how far it is from training.

    Raises:
      UsageError: something does not fit, seen before anything was started.
      JobError: the job failed; nothing is left at `output`.
    """
    from beam_jobs.jobs.drift import find_drift  # noqa: PLC0415  # Beam: seconds
    from beam_jobs.options.judging import DriftOptions  # noqa: PLC0415

    own: dict[str, Any] = {"max_ks": max_ks, "max_psi": max_psi, "max_share_change": max_share_change}
    own |= {"max_nll_change": max_nll_change, "key_column": key_column}
    if baseline_table is not None:
        own["baseline_patterns"] = table_paths(baseline_table) or ("baseline_table",)
    with (
        job_options(DriftOptions, model, table, output, own, options, others=(key_column,)) as made,
        in_files(made, baseline_table, others=(key_column,)) as files,
    ):
        asked = made if files is None else dataclasses.replace(made, baseline_patterns=files)
        return find_drift(asked, beam_options(beam_flags))
