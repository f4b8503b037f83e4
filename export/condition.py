"""What a distribution tells about its conditional input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from export.tfp_kind import is_kind
from maf.condition_encoder import ConditionEncoder
from maf_serving.columns import ConditionColumn, number_entries

Array = np.ndarray[Any, Any]


def condition_size(distribution: Any) -> int | None:
    """C, the number of conditional columns, or `None` where the layers do not say (a function with a network in it)."""
    for module in distribution.submodules:
        if isinstance(module, ConditionEncoder):
            return int(module.loc.shape[0])
    for module in distribution.submodules:
        shape = getattr(module, "_conditional_event_shape", None) if is_kind(module, "AutoregressiveNetwork") else None
        if shape is not None:
            return int(shape[-1])
    return None


def typical_conditions(distribution: Any, size: int, rows: int, rng: np.random.Generator) -> Array:
    """Conditions `[rows, size]` such as the model may have been trained on.

    Normal, with the mean and standard deviation of the training rows where the model standardises its condition;
    else standard normal, which is right for a model whose owner standardised beforehand.
    """
    conditions = rng.normal(size=(rows, size))
    for module in distribution.submodules:
        if isinstance(module, ConditionEncoder):
            conditions = module.loc.numpy() + module.scale.numpy() * conditions
            break
    return conditions


def null_values(distribution: Any, columns: Sequence[ConditionColumn]) -> Array:
    """`[Kn]`, what stands in `conditional_input` for a null of each number: the mean of its training rows.

    0 where the model does not standardise its condition: its owner did it beforehand.
    """
    entries = number_entries(columns)
    for module in distribution.submodules:
        if isinstance(module, ConditionEncoder):
            return np.asarray(module.loc.numpy()[entries])
    return np.zeros(len(entries))
