"""Conditional masked autoregressive flows: layers, routing, training.

    files -> table -> settling -> rows/ (memory-mapped splits) -> preparation -> flow -> fit -> weights.npz
             |          |                                          |             |       |
        categories   dropped rows,                        standardisation,    layers,  likelihood,
        and nulls    vocabulary                           starting point      routing  training state

A row of the table becomes numbers in `table.py`, is counted, split and kept by `settling.py`, and is read again as a
minibatch by `fitting.py`. `run_directory.py` holds what is left when all is done, `report/` looks at it, `search/`
tries others.

Read first: `layers.py` and `routing.py`, the two functions that everything rests on; then `flow.py` for the model and
`train.py` for a run from table to run directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from maf.config import DataConfig, FlowConfig, RunConfig, TrainingConfig
    from maf.errors import MafError
    from maf.fitting import fit, mean_nll
    from maf.flow import build_flow
    from maf.layers import create_named_maf
    from maf.likelihood import log_prob
    from maf.routing import make_bijector_kwargs
    from maf.run_directory import read_run
    from maf.train import continue_run, start_run

__all__ = [
    "DataConfig",
    "FlowConfig",
    "MafError",
    "RunConfig",
    "TrainingConfig",
    "build_flow",
    "continue_run",
    "create_named_maf",
    "fit",
    "log_prob",
    "make_bijector_kwargs",
    "mean_nll",
    "read_run",
    "start_run",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "maf.config": ["DataConfig", "FlowConfig", "RunConfig", "TrainingConfig"],
        "maf.errors": ["MafError"],
        "maf.fitting": ["fit", "mean_nll"],
        "maf.flow": ["build_flow"],
        "maf.layers": ["create_named_maf"],
        "maf.likelihood": ["log_prob"],
        "maf.routing": ["make_bijector_kwargs"],
        "maf.run_directory": ["read_run"],
        "maf.train": ["continue_run", "start_run"],
    },
)
