"""Batch jobs on exported flows, as Apache Beam pipelines over Arrow batches.

    sources/ -> rows.py (read, validate) -> model/ -> rows.py (answers) -> output/ -> published
                          |                                 |
                          +---------------------------------+-> rejected rows, with their reasons

An element is an Arrow batch. `jobs/` puts these steps together, `runner/` knows the runners and their processes,
`options/` the flags, `evaluation/` the statistics that `evaluate` merges.

Read first: `jobs/score.py`, a pipeline from end to end; then `rows.py`, `model/saved_model.py` and
`output/writing.py`, its steps; what becomes of a row is in `maf_serving/answers.py`. `summarize` asks another question
in the same pipeline, `jobs/sample.py`, `evaluate.py`, `compare.py` and `drift.py` there are the other jobs;
`jobs/job.py` says what a job is, `jobs/running.py` runs any, and `score.py`, `sample.py` and so on are the commands,
`python -m beam_jobs.score`. `score_batches.py` is a transform for pipelines of your own.

What workers run needs the exported SavedModel, TensorFlow, Arrow and Beam: neither TensorFlow Probability nor the
model code. Importing this package loads none of them; names are resolved when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from beam_jobs.errors import JobError, UnreadableFileError, UsageError
    from beam_jobs.evaluation.drift_report import DriftSummary
    from beam_jobs.evaluation.results import EvaluateSummary
    from beam_jobs.jobs.compare import CompareSummary, compare_table
    from beam_jobs.jobs.drift import find_drift
    from beam_jobs.jobs.evaluate import evaluate_table
    from beam_jobs.jobs.sample import SampleSummary, sample_table
    from beam_jobs.jobs.score import ScoreSummary, SummarizeSummary, score_table, summarize_table
    from beam_jobs.model.saved_model import SavedModelHandler
    from beam_jobs.options.job_options import EvaluateOptions, SampleOptions, ScoreOptions, SummarizeOptions
    from beam_jobs.options.judging import CompareOptions, DriftOptions
    from beam_jobs.score_batches import ScoreBatches, ScoredBatches

__all__ = [
    "CompareOptions",
    "CompareSummary",
    "DriftOptions",
    "DriftSummary",
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
    "SummarizeOptions",
    "SummarizeSummary",
    "UnreadableFileError",
    "UsageError",
    "compare_table",
    "evaluate_table",
    "find_drift",
    "sample_table",
    "score_table",
    "summarize_table",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "beam_jobs.errors": ["JobError", "UnreadableFileError", "UsageError"],
        "beam_jobs.evaluation.results": ["EvaluateSummary"],
        "beam_jobs.jobs.compare": ["CompareSummary", "compare_table"],
        "beam_jobs.evaluation.drift_report": ["DriftSummary"],
        "beam_jobs.jobs.drift": ["find_drift"],
        "beam_jobs.jobs.evaluate": ["evaluate_table"],
        "beam_jobs.jobs.sample": ["SampleSummary", "sample_table"],
        "beam_jobs.jobs.score": ["ScoreSummary", "SummarizeSummary", "score_table", "summarize_table"],
        "beam_jobs.model.saved_model": ["SavedModelHandler"],
        "beam_jobs.options.job_options": ["EvaluateOptions", "SampleOptions", "ScoreOptions", "SummarizeOptions"],
        "beam_jobs.options.judging": ["CompareOptions", "DriftOptions"],
        "beam_jobs.score_batches": ["ScoreBatches", "ScoredBatches"],
    },
)
