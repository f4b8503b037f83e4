"""Batch jobs on exported flows, as Apache Beam pipelines over Arrow batches.

Read first: `scoring.py`, a pipeline from end to end; then `reading.py`, `validation.py`, `model_handler.py` and
`output/writing.py`, its steps. `sampling.py` and `evaluating.py` are the other two jobs; `job.py` says what a job is,
`running.py` runs any, and `score.py`, `sample.py` and `evaluate.py` are the commands, `python -m beam_jobs.score` and
so on. `score_batches.py` is a transform for pipelines of your own.

What workers run needs the exported SavedModel, TensorFlow, Arrow and Beam: neither TensorFlow Probability nor the
model code. Importing this package loads none of them; names are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = [
    "BatchJobError",
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

_HOME = {
    "BatchJobError": "errors",
    "EvaluateOptions": "options.evaluate_options",
    "EvaluateSummary": "evaluate_summary",
    "JobError": "errors",
    "SampleOptions": "options.sample_options",
    "SampleSummary": "sample_summary",
    "SavedModelHandler": "model_handler",
    "ScoreBatches": "score_batches",
    "ScoreOptions": "options.score_options",
    "ScoreSummary": "score_summary",
    "ScoredBatches": "score_batches",
    "UnreadableFileError": "errors",
    "UsageError": "errors",
    "evaluate_table": "evaluating",
    "sample_table": "sampling",
    "score_table": "scoring",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
