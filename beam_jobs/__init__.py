"""Batch jobs on exported flows, as Apache Beam pipelines over Arrow batches.

Read first: `scoring.py`, the pipeline from end to end; then `reading.py`, `validation.py`, `model_handler.py` and
`writing.py`, its four steps. `score.py` is the command, `python -m beam_jobs.score`.

What workers run needs the exported SavedModel, TensorFlow, Arrow and Beam: neither TensorFlow Probability nor the
model code. Importing this package loads none of them; names are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["BatchJobError", "JobError", "SavedModelHandler", "ScoreOptions", "Summary", "UsageError", "score_table"]

_HOME = {
    "BatchJobError": "errors",
    "JobError": "errors",
    "SavedModelHandler": "model_handler",
    "ScoreOptions": "options",
    "Summary": "summary",
    "UsageError": "errors",
    "score_table": "scoring",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
