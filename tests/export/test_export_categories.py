"""From a table with categories and nulls to a served density, and that to the truth."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from export import ExportOptions, OptionError, RunSource, export_model, read_contract
from export.verification.version import verify_version
from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, start_run
from maf.run_directory import RunDirectory
from tests.export.test_raw_conditions import example

REGIONS, BRANDS = ("north", "south", "east"), ("a", "b")
DEVIATION = 0.5


def draw(rows, seed):
    """Columns, null where they are missing, and the log-density of price given them."""
    rng = np.random.default_rng(seed)
    region, store, brand = rng.choice(3, rows, p=[0.5, 0.3, 0.2]), rng.integers(0, 3, rows), rng.integers(0, 2, rows)
    income, no_income, no_brand = rng.normal(50, 5, rows), rng.random(rows) < 0.2, rng.random(rows) < 0.2
    mean = 3.0 * region + store + np.where(no_income, 4.0, (income - 50) / 5) + np.where(no_brand, -3.0, 2.0 * brand)
    price = mean + DEVIATION * rng.normal(size=rows)
    log_density = -0.5 * ((price - mean) / DEVIATION) ** 2 - np.log(DEVIATION * np.sqrt(2 * np.pi))
    columns = {
        "price": pa.array(price),
        "region": pa.array(np.array(REGIONS)[region]).dictionary_encode(),
        "store": pa.array(10 * store),
        "income": pa.array(income, mask=no_income),
        "brand": pa.array(np.array(BRANDS)[brand], pa.large_string(), mask=no_brand),
    }
    return pa.table(columns), log_density


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("shop")
    pq.write_table(draw(12_000, seed=0)[0], path / "shop.parquet")
    config = RunConfig(
        data=DataConfig(
            data=(str(path / "shop.parquet"),),
            event=("price",),
            condition=("region", "store", "income", "brand"),
            categorical=("store",),
        ),
        flow=FlowConfig(event_size=1, condition_size=4, num_layers=1, transform="affine", condition_units=(64,)),
        training=TrainingConfig(max_epochs=15, dropout=0.0),
    )
    start_run(config, path / "run", announce=lambda _: None)
    return path / "run"


@pytest.fixture(scope="module")
def version(run, tmp_path_factory):
    options = ExportOptions(signatures=("log_prob_examples",))
    return export_model(RunSource(run).load(), tmp_path_factory.mktemp("models"), options).version_dir


@pytest.mark.slow
def test_raw_rows_are_scored_as_the_truth_has_it(version):
    contract = read_contract(version)
    assert [(column.name, column.kind, column.nullable) for column in contract.condition_columns] == [
        ("region", "string", False),
        ("store", "integer", False),
        ("income", "number", True),
        ("brand", "string", True),
    ]
    table, truth = draw(3_000, seed=1)
    rows = [
        example(**{k: v.encode() if isinstance(v, str) else v for k, v in row.items() if v is not None})
        for row in table.to_pylist()
    ]
    served = tf.saved_model.load(str(version)).signatures["log_prob_examples"]
    log_prob = served(examples=tf.constant(rows))["log_prob"].numpy()
    assert truth.mean() - log_prob.mean() < 0.05
    null = ~np.array(table["income"].is_valid())
    assert truth[null].mean() - log_prob[null].mean() < 0.1


@pytest.mark.slow
def test_a_run_of_another_vocabulary_is_another_run(run, version, tmp_path):
    other = RunDirectory(shutil.copytree(run, tmp_path / "other"))
    config = other.read_config()
    region, *rest = config.data.condition_columns
    turned = dataclasses.replace(region, vocabulary=region.vocabulary[::-1])
    data = dataclasses.replace(config.data, condition_columns=(turned, *rest))
    other.write_config(dataclasses.replace(config, data=data))
    with pytest.raises(OptionError, match=r"region \(strings east, south, north\), .* income \(nullable\), brand"):
        verify_version(version, run=other.path)
