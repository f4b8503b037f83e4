"""Where training starts, from prepared rows on."""

import math

import numpy as np
import pytest

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, mean_nll
from maf.preparation import prepare
from maf.rows import Rows
from maf.standardization import Standardization

N = 4_000


def prepared(x, c, *, data=None, **flow):
    """The new flow for rows x `[N, D]`, c `[N, C]`, and its NLL of them before any step; `data` are options."""
    rows = np.concatenate([x, c], axis=1).astype(np.float32)
    event = tuple(f"x{i}" for i in range(x.shape[1]))
    condition = tuple(f"c{i}" for i in range(c.shape[1]))
    config = RunConfig(
        data=DataConfig(data=("none.csv",), event=event, condition=condition, **(data or {})),
        flow=FlowConfig(event_size=len(event), condition_size=len(condition), condition_units=(16,), **flow),
        training=TrainingConfig(),
    )
    moments = Standardization(x.mean(axis=0), x.std(axis=0), c.mean(axis=0), c.std(axis=0))
    split = Rows(
        training=rows,
        validation=rows[:10],
        test=rows[:0],
        dropped=0,
        standardization=moments,
        constant=(),
        columns=config.data.columns,
        findings=(),
    )
    distribution = prepare(config, split).distribution
    return distribution, mean_nll(distribution, rows, event_size=len(event))[0]


def columns(rng, event_size):
    c = rng.normal(50, 3, (N, 2))
    return 1_000 + 7 * (c @ rng.normal(size=(2, event_size))) + 2 * rng.normal(size=(N, event_size)), c


def linear_nll(x, c):
    """Of each column by itself, given the condition."""
    a = np.concatenate([np.ones((len(c), 1)), c], axis=1)
    variance = (x - a @ np.linalg.lstsq(a, x, rcond=None)[0]).var(axis=0)
    return 0.5 * np.log(2 * math.pi * math.e * variance).sum()


@pytest.mark.parametrize("event_size", [1, 3])
@pytest.mark.parametrize("transform", ["affine", "spline"])
def test_training_starts_at_the_regression_of_each_column(event_size, transform):
    x, c = columns(np.random.default_rng(1), event_size)
    _, nll = prepared(x, c, transform=transform, hidden_units=(19,))  # as many as entries of the encoding
    assert nll == pytest.approx(linear_nll(x, c), abs=0.05)
    _, identity = prepared(x, c, transform=transform, regression="off")
    assert identity > nll + 0.5


def test_an_exact_function_of_the_condition_starts_at_a_width_that_can_be_trained():
    _, c = columns(np.random.default_rng(2), 1)
    distribution, nll = prepared(c[:, :1] - 3 * c[:, 1:], c)
    assert math.isfinite(nll)
    assert all(np.isfinite(variable.numpy()).all() for variable in distribution.trainable_variables)


def test_heavy_tails_are_regressed_on_their_own_scale():
    rng = np.random.default_rng(3)
    c = rng.normal(size=(N, 1))
    x = 3 * c + rng.standard_cauchy((N, 1))
    _, nll = prepared(x, c)
    _, identity = prepared(x, c, regression="off")
    assert nll < identity - 0.15


def test_without_a_condition_there_is_nothing_to_regress_on():
    x, c = columns(np.random.default_rng(4), 2)
    assert math.isfinite(prepared(x, c[:, :0])[1])
