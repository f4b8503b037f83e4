"""A model of one category of which the truth is known."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, log_prob, start_run

SHARES = np.array([0.5, 0.3, 0.2])
MEANS = np.array([-3.0, 0.0, 4.0])
SPREADS = np.array([0.5, 1.0, 0.3])
NAMES = np.array(["a", "b", "c"])


def draw(rows, seed):
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, rows, p=SHARES)
    return kind, MEANS[kind] + SPREADS[kind] * rng.normal(size=rows)


def log_densities(x):
    """Of x `[N]` in each category, `[N, 3]`."""
    standard = (x[:, np.newaxis] - MEANS) / SPREADS
    return -0.5 * standard**2 - np.log(SPREADS * math.sqrt(2 * math.pi))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("categories")
    kind, x = draw(12_000, seed=0)
    pq.write_table(pa.table({"x": x, "kind": NAMES[kind]}), path / "a.parquet")
    config = RunConfig(
        data=DataConfig(data=(str(path / "a.parquet"),), event=("x",), condition=("kind",)),
        flow=FlowConfig(event_size=1, condition_size=1),
        training=TrainingConfig(max_epochs=30, dropout=0.0),
    )
    return start_run(config, path / "run", announce=lambda _: None)


def densities(run, x, place):
    condition = np.eye(4)[np.full(len(x), place)]
    constants = [tf.constant(each, tf.float32) for each in (x[:, np.newaxis], condition)]
    return log_prob(run.distribution, *constants).numpy().astype(np.float64)


@pytest.mark.slow
def test_known_categories_have_their_own_density(run):
    """Mean log-density over the truth's own draws: less than the truth's by the Kullback-Leibler divergence."""
    kind, x = draw(20_000, seed=1)
    truth = log_densities(x)[np.arange(len(x)), kind]
    place = {name: run.condition_columns[0].vocabulary.index(name) for name in NAMES}
    found = np.concatenate([densities(run, x[kind == i], place[name]) for i, name in enumerate(NAMES)])
    assert truth.mean() - found.mean() < 0.03


@pytest.mark.slow
def test_an_unknown_category_has_the_density_of_all_together(run):
    """Though no training row had an unknown one."""
    _, x = draw(20_000, seed=2)
    truth = np.log((np.exp(log_densities(x)) * SHARES).sum(axis=1))
    assert truth.mean() - densities(run, x, 3).mean() < 0.1
