"""What a search tries: one named parameter for each choice, and what a set of values means as a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from maf.flow import PROJECTIONS, chosen

if TYPE_CHECKING:
    from maf.config import FlowConfig, RunConfig, TrainingConfig

Values = dict[str, Any]
MOST_WEIGHT_DECAY = 5.0  # for what overfits


def defaults(flow: FlowConfig, training: TrainingConfig) -> Values:
    """The values that stand for the settings, of which none is automatic any more."""
    units = chosen(flow.condition_units)
    values = {
        "num_layers": flow.num_layers,
        "num_bins": flow.num_bins,
        "base": flow.base,
        "hidden_width": _width(flow.hidden_units),
        "condition_width": _width(units),
        "condition_depth": len(units) or 2,
        "condition_bins": flow.condition_bins,
        "condition_projections": flow.condition_projections,
        "batch_size": training.batch_size,
        "max_epochs": training.max_epochs,
        "learning_rate": training.learning_rate,
        "weight_decay": training.weight_decay,
        "most_weight_decay": training.most_weight_decay,
        "dropout": training.dropout,
    }
    return {name: values[name] for name in space(flow, training)}


def space(flow: FlowConfig, training: TrainingConfig, fixed: Collection[str] = ()) -> dict[str, BaseDistribution]:
    """The distribution of each parameter that is searched, by name: what lies around the default settings.

    Those come from many tables; what is far from them is rarely better, and trials are few.

    Args:
      flow: the default settings of the model, of which none is automatic any more.
      training: those of the fit.
      fixed: options that are not searched.
    """
    epochs, decay, rate = chosen(training.max_epochs), chosen(training.weight_decay), training.learning_rate
    layers, units = chosen(flow.num_layers), chosen(flow.condition_units)
    several = flow.event_size > 1
    candidates: dict[str, tuple[str, BaseDistribution]] = {
        "num_layers": ("num_layers", IntDistribution(max(1, layers - 1 - several), layers + 1 + several)),
        "num_bins": ("num_bins", CategoricalDistribution(_around(chosen(flow.num_bins)))),
        "base": ("base", CategoricalDistribution(("normal", "mixture"))),
        "batch_size": ("batch_size", CategoricalDistribution(_around(chosen(training.batch_size)))),
        "max_epochs": ("max_epochs", IntDistribution(max(1, epochs // 2), 2 * epochs, log=True)),
        "learning_rate": ("learning_rate", FloatDistribution(rate / 3, 3 * rate, log=True)),
        "weight_decay": ("weight_decay", FloatDistribution(_least(decay), 4 * max(decay, 0.01), log=True)),
    }
    if several:
        candidates["hidden_width"] = ("hidden_units", CategoricalDistribution(_around(_width(flow.hidden_units))))
        mosts = sorted({0.0, MOST_WEIGHT_DECAY, training.most_weight_decay})
        candidates["most_weight_decay"] = ("most_weight_decay", CategoricalDistribution(mosts))
    if flow.condition_size:
        depth, bins = len(units) or 2, chosen(flow.condition_bins)
        candidates |= {
            "condition_width": ("condition_units", CategoricalDistribution(_around(_width(units)))),
            "condition_depth": ("condition_units", IntDistribution(max(1, depth - 1), depth + 1)),
            "condition_bins": ("condition_bins", CategoricalDistribution((0, *_around(bins or 16)))),
            "dropout": ("dropout", FloatDistribution(0.0, min(0.9, max(0.3, 3 * chosen(training.dropout))))),
        }
    if flow.num_numbers > 1:
        choices = sorted({0, PROJECTIONS, chosen(flow.condition_projections)})
        candidates["condition_projections"] = ("condition_projections", CategoricalDistribution(choices))
    return {name: distribution for name, (option, distribution) in candidates.items() if option not in fixed}


def first_values(flow: FlowConfig, training: TrainingConfig, fixed: Collection[str] = ()) -> list[Values]:
    """The trials to begin with: the default settings, then these with one choice changed at a time.

    What may help most comes first: what a table needs differs most in how strongly the network is regularised and how
    wide it is.
    """
    start, distributions = defaults(flow, training), space(flow, training, fixed)
    start = {name: start[name] for name in distributions}
    changes: list[tuple[str, Callable[[Any], Any]]] = [
        ("dropout", lambda dropout: min(0.9, 3 * dropout) or 0.2),
        ("most_weight_decay", lambda most: 0.0 if most else MOST_WEIGHT_DECAY),
        ("condition_width", lambda width: 2 * width),
        ("weight_decay", lambda decay: max(decay / 3, _least(decay))),
        ("condition_bins", lambda bins: 2 * (bins or 16)),
        ("condition_projections", lambda projections: 0 if projections else PROJECTIONS),
        ("hidden_width", lambda width: 2 * width),
        ("num_layers", lambda layers: layers + 1),
        ("condition_depth", lambda depth: depth + 1),
        ("dropout", lambda dropout: 0.0 if dropout else 0.1),
        ("weight_decay", lambda decay: 2 * max(decay, 0.01)),
        ("base", lambda base: "mixture" if base == "normal" else "normal"),
        ("max_epochs", lambda epochs: round(1.5 * epochs)),
        ("batch_size", lambda size: max(1, size // 2)),
    ]
    return [start, *({**start, name: change(start[name])} for name, change in changes if name in start)]


def _around(value: int) -> tuple[int, ...]:
    """Half of it, itself, twice of it; never less than 2."""
    return tuple(sorted({max(2, value // 2), max(2, value), 2 * max(2, value)}))


def _least(decay: float) -> float:
    return max(decay / 5, 1e-4)


def _width(units: tuple[int, ...]) -> int:
    return units[0] if units else 64


def configure(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """`config` with the values of one trial."""
    flow, training = dict(values), {}
    for name in ("batch_size", "max_epochs", "learning_rate", "weight_decay", "most_weight_decay", "dropout"):
        if name in flow:
            training[name] = flow.pop(name)
    if "hidden_width" in flow:
        flow["hidden_units"] = (flow.pop("hidden_width"),) * 2
    if "condition_width" in flow:
        flow["condition_units"] = (flow.pop("condition_width"),) * flow.pop("condition_depth")
    return dataclasses.replace(
        config,
        flow=dataclasses.replace(config.flow, **flow),
        training=dataclasses.replace(config.training, **training),
    )
