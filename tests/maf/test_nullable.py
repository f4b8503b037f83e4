"""Columns that are never null in training and may be later: a model of one number of which the truth is known."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, log_prob, start_run
from maf.errors import ConfigError
from maf.rows import split_table

MEANS, SPREADS = np.array([-2.0, 3.0]), np.array([0.5, 1.0])


def draw(rows, seed):
    """`c` is -1 or 1, as often."""
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 2, rows)
    return side, MEANS[side] + SPREADS[side] * rng.normal(size=rows)


def log_densities(x):
    """Of x `[N]` on each side, `[N, 2]`."""
    standard = (x[:, np.newaxis] - MEANS) / SPREADS
    return -0.5 * standard**2 - np.log(SPREADS * math.sqrt(2 * math.pi))


def data(path, **options):
    side, x = draw(12_000, seed=0)
    columns = {"x": x, "c": 2.0 * side - 1, "kind": np.array(["a", "b"])[np.arange(len(x)) % 2]}
    pq.write_table(pa.table(columns), path / "a.parquet")
    return DataConfig(data=(str(path / "a.parquet"),), event=("x",), condition=("c", "kind"), **options)


def test_values_of_nullable_columns_are_hidden(tmp_path):
    rows = split_table(data(tmp_path, nullable=("c", "kind")), tmp_path / "rows", dtype="float32", seed=0)
    assert [column.nullable for column in rows.columns] == [True, True]
    assert any("'c': 0 training rows" in line and "hiding values" in line for line in rows.findings)
    seen = np.array(rows.training)
    changed, same = rows.condition.with_hidden(seen, 0.6, event_size=1, seed=(0, 1))
    null_c, null_kind, unknown_kind = np.isnan(changed[:, 1]), changed[:, 2] == -1, changed[:, 2] == 2
    for hidden in (null_c, null_kind):
        assert hidden.mean() == pytest.approx(0.3, abs=0.03)
    assert unknown_kind.any()
    np.testing.assert_array_equal(same, ~(null_c | null_kind | unknown_kind))
    np.testing.assert_array_equal(changed[~null_c, 1], seen[~null_c, 1])


def test_a_name_that_is_no_column_of_the_condition_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nullable has 'x'; expected one of the conditional columns c, kind"):
        data(tmp_path, nullable=("x",))


@pytest.mark.slow
def test_null_has_the_density_of_all_values_together(tmp_path):
    config = RunConfig(
        data=data(tmp_path, nullable=("c",)),
        flow=FlowConfig(event_size=1, condition_size=2),
        training=TrainingConfig(max_epochs=30, dropout=0.0),
    )
    run = start_run(config, tmp_path / "run", announce=lambda _: None)
    side, x = draw(20_000, seed=1)
    kind = np.eye(3)[np.arange(len(x)) % 2]

    def densities(c, null):
        condition = np.column_stack([c, null, kind])
        constants = [tf.constant(each, tf.float32) for each in (x[:, np.newaxis], condition)]
        return log_prob(run.distribution, *constants).numpy().astype(np.float64)

    truth = log_densities(x)[np.arange(len(x)), side]
    assert truth.mean() - densities(2.0 * side - 1, np.zeros(len(x))).mean() < 0.03
    encoder = next(each for each in run.distribution.bijector.submodules if each.name == "condition_encoder")
    mean = encoder.loc.numpy()[0]  # what stands beside the indicator of a null
    marginal = np.log(np.exp(log_densities(x)).mean(axis=1))
    assert marginal.mean() - densities(np.full(len(x), mean), np.ones(len(x))).mean() < 0.1
