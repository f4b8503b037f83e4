"""Batch jobs on exported flows, as Apache Beam pipelines over Arrow batches.

Read first: `scoring.py`, a pipeline from end to end; then `reading.py`, `validation.py`, `model_handler.py` and
`output/writing.py`, its steps. `sampling.py` and `evaluating.py` are the other two jobs; `job.py` says what a job is,
`running.py` runs any, and `score.py`, `sample.py` and `evaluate.py` are the commands, `python -m beam_jobs.score` and
so on. `score_batches.py` is a transform for pipelines of your own.

What workers run needs the exported SavedModel, TensorFlow, Arrow and Beam: neither TensorFlow Probability nor the
model code. Importing this package loads none of them; names are resolved when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from beam_jobs.errors import JobError, UnreadableFileError, UsageError
    from beam_jobs.evaluate_summary import EvaluateSummary
    from beam_jobs.evaluating import evaluate_table
    from beam_jobs.model_handler import SavedModelHandler
    from beam_jobs.options.evaluate_options import EvaluateOptions
    from beam_jobs.options.sample_options import SampleOptions
    from beam_jobs.options.score_options import ScoreOptions
    from beam_jobs.sample_summary import SampleSummary
    from beam_jobs.sampling import sample_table
    from beam_jobs.score_batches import ScoreBatches, ScoredBatches
    from beam_jobs.score_summary import ScoreSummary
    from beam_jobs.scoring import score_table

__all__ = [
    "EvaluateOptions",
    "EvaluateSummary",
    "JobError",
    "SampleOptions",
    "SampleSummary",
    "SavedModelHandler",
    "ScoreBatches",
    "ScoreOptions",
    "ScoreSummary",
    "ScoredBatches",
    "UnreadableFileError",
    "UsageError",
    "evaluate_table",
    "sample_table",
    "score_table",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "beam_jobs.errors": ["JobError", "UnreadableFileError", "UsageError"],
        "beam_jobs.evaluate_summary": ["EvaluateSummary"],
        "beam_jobs.evaluating": ["evaluate_table"],
        "beam_jobs.model_handler": ["SavedModelHandler"],
        "beam_jobs.options.evaluate_options": ["EvaluateOptions"],
        "beam_jobs.options.sample_options": ["SampleOptions"],
        "beam_jobs.options.score_options": ["ScoreOptions"],
        "beam_jobs.sample_summary": ["SampleSummary"],
        "beam_jobs.sampling": ["sample_table"],
        "beam_jobs.score_batches": ["ScoreBatches", "ScoredBatches"],
        "beam_jobs.score_summary": ["ScoreSummary"],
        "beam_jobs.scoring": ["score_table"],
    },
)
