"""Export of trained flows as SavedModels for TensorFlow Serving.

    from export import export_saved_model
    version_dir = export_saved_model(distribution, "models/demo", event_columns=["x0"], conditional_columns=["c0"])

    source.load() -> TrainedModel -> check_model -> compiled/ -> serving_module -> session_graph -> staging directory
                                                                                                           |
                         version directory  <-  publish (rename)  <-  verification/ in a fresh process  <--+

A row of a request then goes through `serving_module` (widths, rows, NaN; few rows or many), the compiled transforms,
and out as `log_prob`.

Read first: `contract.py` (what an exported model promises), then `saved_model.py` (the steps of an export),
`serving_module.py` (what is served), `session_graph.py` (the graph that a server loads) and
`verification/verification.py` (what is checked before a version is published, and by `python -m export.verify` on any
version).

Importing the package loads no TensorFlow: the names below are resolved when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from export.contract import ConditionColumn, Contract, ContractError, TrainingSummary, read_contract
    from export.errors import ExportError, ExportWarning, ModelError, OptionError, PublishError, VerificationError
    from export.saved_model import export_model, export_saved_model
    from export.source import CheckpointSource, ExportOptions, RunSource, TrainedModel
    from maf_serving.batching import BatchingParameters

__all__ = [
    "BatchingParameters",
    "CheckpointSource",
    "ConditionColumn",
    "Contract",
    "ContractError",
    "ExportError",
    "ExportOptions",
    "ExportWarning",
    "ModelError",
    "OptionError",
    "PublishError",
    "RunSource",
    "TrainedModel",
    "TrainingSummary",
    "VerificationError",
    "export_model",
    "export_saved_model",
    "read_contract",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "maf_serving.batching": ["BatchingParameters"],
        "export.contract": ["ConditionColumn", "Contract", "ContractError", "TrainingSummary", "read_contract"],
        "export.errors": [
            "ExportError",
            "ExportWarning",
            "ModelError",
            "OptionError",
            "PublishError",
            "VerificationError",
        ],
        "export.saved_model": ["export_model", "export_saved_model"],
        "export.source": ["CheckpointSource", "ExportOptions", "RunSource", "TrainedModel"],
    },
)
