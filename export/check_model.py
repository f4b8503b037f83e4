"""What is refused before an export starts: a distribution that does not fit its columns, or cannot be served.

MADE's masks are a constraint of Keras on the kernels: an optimiser that does not apply it, or a loop that assigns
weights itself, lets masked weights grow. Then a column's transform depends on the column itself, the Jacobian is not
triangular, and what TFP computes is no density any more: it does not integrate to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.compiled.steps import TfpDensity
from export.contract import DTYPES, check_column_names
from export.errors import ModelError
from maf.condition_encoder import ConditionEncoder
from maf.routing import is_conditional, is_kind, make_bijector_kwargs

Array = np.ndarray[Any, Any]


def check_model(distribution: Any, event_columns: Sequence[str], conditional_columns: Sequence[str]) -> None:
    """Raises unless `distribution` is a density of `event_columns` given `conditional_columns`.

    Runs `log_prob` once on two rows, which also builds layers that were never called.

    Raises:
      ContractError: if the columns are no list of names.
      RoutingError: if the condition cannot be routed to every layer that needs it.
      ModelError: saying in one line what came and what was expected.
    """
    check_column_names(event_columns, conditional_columns)
    if not is_kind(distribution, "TransformedDistribution"):
        raise ModelError(f"distribution is a {type(distribution).__name__}; expected a tfd.TransformedDistribution")
    if distribution.dtype not in [tf.as_dtype(name) for name in DTYPES]:
        raise ModelError(
            f"distribution {distribution.name!r} is of {distribution.dtype}; expected {' or '.join(DTYPES)}"
        )
    _check_event(distribution, event_columns)
    _check_batch_norm(distribution)
    _check_condition(distribution, conditional_columns)
    _check_log_prob(distribution, event_columns, conditional_columns)


def check_weights(variables: Iterable[tf.Variable]) -> None:
    """Raises `ModelError` naming the first variable that holds NaN or infinity."""
    for variable in variables:
        if not variable.dtype.is_floating:
            continue
        broken = np.count_nonzero(~np.isfinite(variable.numpy()))
        if broken:
            raise ModelError(
                f"variable {variable.name!r} of shape {list(variable.shape)} holds {broken} NaN or infinite values; "
                "expected finite weights: export a checkpoint from before training diverged"
            )


def _check_event(distribution: Any, event_columns: Sequence[str]) -> None:
    name, event_shape = distribution.name, distribution.event_shape
    if distribution.batch_shape.rank != 0:
        raise ModelError(
            f"distribution {name!r} has batch shape {distribution.batch_shape}; expected none: make it part of the "
            "event with tfd.Independent or tfd.Sample"
        )
    if event_shape.rank != 1:
        raise ModelError(f"distribution {name!r} has event shape {event_shape}; expected one dimension, [D]")
    if event_shape[0] != len(event_columns):
        raise ModelError(
            f"distribution {name!r} has {event_shape[0]} event dimensions; got {len(event_columns)} event columns: "
            f"{', '.join(event_columns)}"
        )
    base_shape = distribution.distribution.event_shape
    if base_shape != event_shape:
        raise ModelError(
            f"base distribution {distribution.distribution.name!r} has event shape {base_shape}; expected "
            f"{event_shape}, that of the whole distribution"
        )


def _check_batch_norm(distribution: Any) -> None:
    for module in distribution.submodules:
        if is_kind(module, "BatchNormalization") and getattr(module, "_training", False):
            raise ModelError(
                f"bijector {module.name!r} is in training mode, where a row's density depends on its batch; build the "
                "distribution with tfb.BatchNormalization(layer, training=False)"
            )


def _check_condition(distribution: Any, conditional_columns: Sequence[str]) -> None:
    # The first to ask tells the size: what is found is remembered for all who route later.
    conditional = is_conditional(distribution.bijector, event_size=int(distribution.event_shape[0]))
    given = ", ".join(conditional_columns) or "none"
    if conditional and not conditional_columns:
        raise ModelError(
            f"distribution {distribution.name!r} is conditional; got no conditional columns: pass conditional_columns"
        )
    if conditional_columns and not conditional:
        raise ModelError(
            f"distribution {distribution.name!r} takes no conditional_input; got {len(conditional_columns)} "
            f"conditional columns: {given}"
        )
    if conditional:
        make_bijector_kwargs(distribution.bijector, {"conditional_input": ()})
        expected = condition_size(distribution)
        if expected not in {None, len(conditional_columns)}:
            raise ModelError(
                f"distribution {distribution.name!r} takes {expected} conditional columns; got "
                f"{len(conditional_columns)}: {given}"
            )


def _check_log_prob(distribution: Any, event_columns: Sequence[str], conditional_columns: Sequence[str]) -> None:
    x = tf.zeros([2, len(event_columns)], distribution.dtype)
    condition = tf.zeros([2, len(conditional_columns)], distribution.dtype) if conditional_columns else None
    try:
        _, log_prob = TfpDensity(distribution).inverse(x, condition)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise ModelError(
            f"distribution {distribution.name!r} has no log_prob for {len(event_columns)} event and "
            f"{len(conditional_columns)} conditional columns ({', '.join([*event_columns, *conditional_columns])}): "
            f"{_first_line(error)}"
        ) from error
    if log_prob.shape != [2]:
        raise ModelError(
            f"distribution {distribution.name!r} gives log_prob of shape {log_prob.shape} for 2 rows; expected [2]"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def check_masks(variables: Iterable[tf.Variable]) -> None:
    """Raises `ModelError` naming the first variable that its own constraint would change."""
    for variable in variables:
        constraint = getattr(variable, "constraint", None)
        if constraint is None:
            continue
        broken = np.count_nonzero(constraint(tf.identity(variable)).numpy() != variable.numpy())
        if broken:
            raise ModelError(
                f"variable {variable.name!r} of shape {list(variable.shape)} breaks its constraint in {broken} "
                "weights: an autoregressive mask was not kept in training, and the model is no density; train again, "
                "with variable.assign(variable.constraint(variable)) after each step"
            )


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
