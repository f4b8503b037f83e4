"""Conditional density models in production: train, export, serve and score them.

    >>> model = ms.load("models/sales")
    >>> model.log_prob({"price": [9.5], "season": [1.0], "region": ["north"]}).type
    DataType(float)

    a table or file -> table_files, csv_files -> validation -> saved_model or predict_channel -> answers
                                                     |
                                                     +-> rejected rows, with their reasons

Importing this loads nothing heavy: a name is imported when it is first used.

The modules of this package are the ground floor that `maf`, `export`, `beam_jobs` and `serving_config` share; none of
them imports one of the four, nor TensorFlow, TensorFlow Probability or Beam when it is imported. `front/` alone does,
in its functions: the names below are there. Read first: `front/model.py`, `errors.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maf_serving import errors
from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from export.contract import read_contract
    from maf_serving.columns import ConditionColumn
    from maf_serving.front.exporting import export, load
    from maf_serving.front.jobs import JobKeywords, evaluate, sample, score, summarize
    from maf_serving.front.judging import compare, drift
    from maf_serving.front.model import Model
    from maf_serving.front.serving import Server, serve
    from maf_serving.front.training import Run, TrainingOptions, load_run, resume_run, train
    from maf_serving.table_formats import CsvDialect
    from serving_config.client.client import Client

__all__ = [
    "Client",
    "ConditionColumn",
    "CsvDialect",
    "JobKeywords",
    "Model",
    "Run",
    "Server",
    "TrainingOptions",
    "compare",
    "drift",
    "errors",
    "evaluate",
    "export",
    "load",
    "load_run",
    "read_contract",
    "resume_run",
    "sample",
    "score",
    "serve",
    "summarize",
    "train",
]

_find, __dir__ = lazy_names(
    __name__,
    {
        "export.contract": ["read_contract"],
        "maf_serving.columns": ["ConditionColumn"],
        "maf_serving.front.exporting": ["export", "load"],
        "maf_serving.front.jobs": ["JobKeywords", "evaluate", "sample", "score", "summarize"],
        "maf_serving.front.judging": ["compare", "drift"],
        "maf_serving.front.model": ["Model"],
        "maf_serving.front.serving": ["Server", "serve"],
        "maf_serving.front.training": ["Run", "TrainingOptions", "load_run", "resume_run", "train"],
        "maf_serving.table_formats": ["CsvDialect"],
        "serving_config.client.client": ["Client"],
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        import importlib.metadata  # noqa: PLC0415  # 20 ms

        return importlib.metadata.version("maf-serving")
    return _find(name)
