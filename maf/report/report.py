"""All that the page shows, as plain numbers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maf.config import DataConfig, FlowConfig
    from maf.report.calibration import Calibration
    from maf.report.likelihoods import Likelihoods
    from maf.report.options import ReportOptions
    from maf.report.pictures import Pairs, Picture
    from maf.report.rows import ReportRows
    from maf.run_directory import EpochRecord, RunSummary
    from maf_serving.training_profile import TrainingProfile


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run's report.

    Attributes:
      options: what was asked for.
      data: where the run's rows came from, and what its columns are.
      flow: what its model is.
      seed: of its training.
      summary: outcome of its training.
      history: its epochs.
      profile: what its training saw of each column; `None` of a run that was trained before there was one.
      conditional_columns: names of the raw columns of the condition.
      influence: of each of them on x, by linear regression.
      parameters: how many numbers the model has learnt.
      rows: test rows that were looked at, and moments of the training rows.
      likelihoods, calibration, pictures, pairs: what was found.
    """

    options: ReportOptions
    data: DataConfig
    flow: FlowConfig
    seed: int
    summary: RunSummary
    history: tuple[EpochRecord, ...]
    profile: TrainingProfile | None
    conditional_columns: tuple[str, ...]
    influence: tuple[float, ...]
    parameters: int
    rows: ReportRows
    likelihoods: Likelihoods
    calibration: Calibration
    pictures: tuple[Picture, ...]
    pairs: Pairs | None
