"""Row weights: a row of weight k counts as k rows, one of weight 0 as none."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from maf import DataConfig, FlowConfig, TrainingConfig, build_flow
from maf.errors import ConfigError, DataError
from maf.fitting import fit, mean_nll, minibatches
from maf.likelihood import RowsLikelihood
from maf.preparation import _sample
from maf.profiling import make_quantiles, profile_rows
from maf.rows import split_table
from maf.search.study import _counted, other_folds
from maf_serving.moments import Moments
from maf_serving.strict_json import parse_dataclass
from maf_serving.training_profile import TrainingProfile

ROWS = 1_200


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(4)
    c = rng.normal(size=ROWS)
    return pa.table(
        {
            "y": c + rng.normal(size=ROWS),
            "c": pa.array(c, mask=rng.random(ROWS) < 0.1),
            "kind": rng.choice(["a", "b"], ROWS),
            "store": rng.integers(0, 50, ROWS),
            "w": rng.integers(0, 4, ROWS).astype(float),
        }
    )


def split(tmp_path, table, name="rows", suffix=".parquet", **other):
    path = tmp_path / f"{name}{suffix}"
    (pa.csv.write_csv if suffix == ".csv" else pq.write_table)(table, path)
    data = DataConfig(**{"data": (str(path),), "event": ("y",), "condition": ("c", "kind"), "weight": "w", **other})
    return split_table(data, tmp_path / f"{name} split", dtype="float64", seed=0)


@pytest.mark.parametrize("split_by", [None, "group:store", "time:c"])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_rows_of_weight_zero_change_nothing(tmp_path, table, split_by, suffix):
    if split_by == "time:c":
        table = table.set_column(1, "c", pa.array(np.nan_to_num(table["c"].to_numpy())))
    without = table.filter(pa.array(table["w"].to_numpy() > 0))
    first, second = (
        split(tmp_path, each, str(len(each)), suffix, split_by=split_by, max_dropped_share=0.5)
        for each in (table, without)
    )
    for name in ("training", "validation", "test"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        np.testing.assert_array_equal(first.weights[name], second.weights[name])
    assert first.columns == second.columns
    np.testing.assert_array_equal(first.standardization.event_loc, second.standardization.event_loc)
    line = next(line for line in first.findings if line.startswith("column 'w'"))
    assert "weights from 1 to 3" in line
    assert line.endswith(f"; {len(table) - len(without)} rows of weight 0 are left out")


def test_weights_stay_with_their_rows_and_weigh_their_moments(tmp_path, table):
    rows = split(tmp_path, table)
    by_y = dict(zip(table["y"].to_pylist(), table["w"].to_pylist(), strict=True))
    for name in ("training", "validation", "test"):
        assert rows.weights_of(name).tolist() == [by_y[y] for y in getattr(rows, name)[:, 0]]
    repeated = np.repeat(rows.training, rows.weights["training"].astype(int), axis=0)
    np.testing.assert_allclose(rows.standardization.event_loc, repeated[:, 0].mean(), rtol=1e-12)
    np.testing.assert_allclose(rows.standardization.event_scale, repeated[:, 0].std(), rtol=1e-12)
    np.testing.assert_allclose(rows.standardization.condition_scale[0], np.nanstd(repeated[:, 1]), rtol=1e-12)
    sample = _sample(rows, 0)
    assert sample.shape == rows.training.shape
    assert sample[:, 0].mean() == pytest.approx(repeated[:, 0].mean(), abs=0.15)
    assert split(tmp_path, table, "plain", weight=None).weights_of("test") is None


def test_the_profile_is_that_of_repeated_rows(tmp_path, table):
    """Shares, means and quantiles of columns and NLL, but for counts of rows."""
    rows = split(tmp_path, table)
    weights = {name: each.astype(int) for name, each in rows.weights.items()}
    nll = np.random.default_rng(2).normal(size=len(rows.validation))
    nll[3] = np.inf
    repeats = dataclasses.replace(
        rows,
        training=np.repeat(rows.training, weights["training"], axis=0),
        validation=np.repeat(rows.validation, weights["validation"], axis=0),
        weights=None,
    )
    weighted = profile_rows(rows, ("y",), -nll)
    repeated = profile_rows(repeats, ("y",), -np.repeat(nll, weights["validation"]))
    for mine, other in zip((*weighted.event, *weighted.condition), (*repeated.event, *repeated.condition), strict=True):
        assert (mine.kind, mine.quantiles, mine.categories) == (other.kind, other.quantiles, other.categories)
        assert mine.null_share == pytest.approx(other.null_share, rel=1e-12)
        assert mine.shares == pytest.approx(other.shares, abs=1e-6)
        if mine.mean is not None:
            assert (mine.mean, mine.stddev) == pytest.approx((other.mean, other.stddev), rel=1e-9)
        assert (mine.rows, other.rows) == (len(rows.training), len(repeats.training))
        counting = rows.weights["training"]
        assert mine.worth == pytest.approx(counting.sum() ** 2 / (counting**2).sum())
        assert other.worth == other.rows
    assert weighted.condition[0].nulls == np.isnan(rows.training[:, 1]).sum() > 0
    assert weighted.nll.quantiles == repeated.nll.quantiles
    assert (weighted.nll.mean, weighted.nll.stddev) == pytest.approx((repeated.nll.mean, repeated.nll.stddev), rel=1e-9)
    assert weighted.nll.rows == len(nll) - 1 > weighted.nll.worth
    for profile in (weighted, repeated):
        assert parse_dataclass(TrainingProfile, json.dumps(profile.to_data()), "profile", error=DataError) == profile
    assert "effective_rows" not in json.dumps(repeated.to_data())


def test_hardly_any_weight_is_some():
    """A value that has come is in the quantiles, however little it counts, and shares go on ascending."""
    values = np.arange(200.0)
    weights = np.where(values % 50 == 0, 1.0, 1e-12)
    found = make_quantiles(values, weights)
    assert (found.minimum, found.maximum) == (0.0, 199.0)
    assert found.at(0.5) == 50.0
    assert set(found.values) >= {0.0, 50.0, 100.0, 150.0}


def test_moments_of_weights_are_those_of_repeats():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(100, 1, (500, 3)), rng.integers(1, 5, 500)
    weighted, repeated = Moments(3), Moments(3)
    for chunk, each in zip(np.array_split(values, 7), np.array_split(weights, 7), strict=True):
        weighted.add(chunk, each.astype(float))
    repeated.add(np.repeat(values, weights, axis=0))
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-13)
    np.testing.assert_allclose(weighted.scale, repeated.scale, rtol=1e-11)
    assert (weighted.count, weighted.weight) == (500, repeated.count)


@pytest.fixture(scope="module")
def weighted():
    rng = np.random.default_rng(1)
    c = rng.normal(size=(300, 1))
    rows = np.concatenate([np.sin(2 * c) + 0.3 * rng.normal(size=(300, 1)), c], axis=1)
    return rows, np.where(c[:, 0] > 0, 3.0, 1.0)


def flow():
    config = FlowConfig(event_size=1, condition_size=1, num_layers=1, transform="affine", dtype="float64")
    return build_flow(config, seed=3)


def test_the_nll_is_that_of_repeated_rows(weighted):
    rows, weights = weighted
    repeated = np.repeat(rows, weights.astype(int), axis=0)
    likelihood = RowsLikelihood(flow(), 1, None)
    assert likelihood.nll(rows, weights) == pytest.approx(likelihood.nll(repeated), rel=1e-12)
    nll, error = mean_nll(flow(), rows, event_size=1, weights=weights)
    assert nll == pytest.approx(likelihood.nll(repeated), rel=1e-12)
    assert error > mean_nll(flow(), repeated, event_size=1)[1]  # the rows are 300, not as many as the weights' sum
    assert mean_nll(flow(), rows, event_size=1, weights=7 * weights)[1] == pytest.approx(error)
    log_prob = likelihood.evaluate(rows)
    assert -_counted(log_prob, weights).mean() == pytest.approx(nll, rel=1e-12)


def test_training_on_weights_is_training_on_repeated_rows(weighted):
    rows, weights = weighted
    repeated = np.repeat(rows, weights.astype(int), axis=0)
    epochs = []
    for training, counting in ((rows, 5 * weights), (repeated, None)):
        config = TrainingConfig(max_epochs=6, batch_size=len(training), dropout=0, weight_decay=0, jit_compile="off")
        trained = flow()
        epochs.append(fit(trained, training, rows[:50], event_size=1, config=config, weights=counting))
    for one, other in zip(*epochs, strict=True):
        assert one.validation_nll == pytest.approx(other.validation_nll, rel=1e-6)
        assert one.training_nll == pytest.approx(other.training_nll, rel=1e-6)
    assert mean_nll(trained, rows, event_size=1)[0] != pytest.approx(epochs[0][-1].training_nll, rel=1e-2)


def test_minibatches_of_weights_are_those_of_their_rows():
    rows = np.arange(30_000.0).reshape(10_000, 3)
    options = {"batch_size": 512, "seed": 1, "epoch": 2, "window_bytes": 200_000}
    weights = minibatches(rows[:, [0]], row_bytes=24, **options)
    for batch, weight in zip(minibatches(rows, **options), weights, strict=True):
        np.testing.assert_array_equal(batch[:, :1], weight)


def test_folds_keep_weights_and_rows_together(tmp_path, table):
    rows = split(tmp_path, table)
    by_y = dict(zip(table["y"].to_pylist(), table["w"].to_pylist(), strict=True))
    for fold in other_folds(rows, 3, seed=0):
        for name in ("training", "validation"):
            assert fold.weights_of(name).tolist() == [by_y[y] for y in getattr(fold, name)[:, 0]]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(
    ("value", "shown"), [(-1.0, "-1"), (np.nan, "nan"), (np.inf, "inf"), (None, "None|null")], ids=str
)
def test_weights_that_are_none_are_refused(tmp_path, table, value, shown, suffix):
    weights = table["w"].to_pylist()
    weights[7] = value
    message = rf"rows.*, row 7 \(from 0\): the weight w is ({shown}).*; expected a finite number, 0 or more"
    with pytest.raises(DataError, match=message):
        split(tmp_path, table.set_column(4, "w", pa.array(weights)), suffix=suffix)


def test_columns_that_hold_no_weights_are_refused(tmp_path, table):
    with pytest.raises(DataError, match=r"has no column 'weights'"):
        split(tmp_path, table, weight="weights")
    with pytest.raises(DataError, match=r"the weight kind is [ab]; expected a finite number"):
        split(tmp_path, table, condition=("c",), weight="kind")
    with pytest.raises(ConfigError, match="weight is 'c'; expected the name of a column that the model does not have"):
        split(tmp_path, table, weight="c")
