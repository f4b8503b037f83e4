"""Conditional masked autoregressive flows: layers, routing, training.

Read first: `layers.py` and `routing.py`, the two functions that everything rests on; then `flow.py` for the model and
`train.py` for a run from table to run directory.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "FlowConfig": "maf.config",
    "DataConfig": "maf.config",
    "TrainingConfig": "maf.config",
    "RunConfig": "maf.config",
    "MafError": "maf.errors",
    "create_named_maf": "maf.layers",
    "make_bijector_kwargs": "maf.routing",
    "build_flow": "maf.flow",
    "log_prob": "maf.likelihood",
    "fit": "maf.fit",
    "evaluate": "maf.fit",
    "start_run": "maf.train",
    "resume_run": "maf.train",
    "load_run": "maf.run_directory",
}
__all__ = sorted(_HOME)  # noqa: PLE0605  # a list of the names above


def __getattr__(name: str) -> Any:
    """Public names are imported when asked for: TensorFlow takes seconds."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
