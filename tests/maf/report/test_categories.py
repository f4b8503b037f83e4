"""The report of a run with categories and nulls among its conditions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, continue_run, start_run
from maf.report.drawing.page import commands, draw_page
from maf.report.make_report import measure_run
from maf.report.options import ReportOptions
from maf_serving.page_numbers import percent

REGIONS = np.array(["north", "<b>south</b>", "east"])


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("categories")
    rng = np.random.default_rng(0)
    region, store = rng.choice(3, 4_000, p=[0.5, 0.3, 0.2]), rng.integers(0, 2, 4_000)
    income, null = rng.normal(50, 5, 4_000), rng.random(4_000) < 0.2
    x = 10.0 * region + np.where(null, 5, income / 10) + rng.normal(size=4_000)
    columns = {
        "price": x,
        "region": REGIONS[region],
        "store": pa.array(store, mask=rng.random(4_000) < 0.1),
        "income": pa.array(income, mask=null),
    }
    pq.write_table(pa.table(columns), path / "a.parquet")
    config = RunConfig(
        data=DataConfig(
            data=(str(path / "a.parquet"),),
            event=("price",),
            condition=("region", "store", "income"),
            categorical=("store",),
        ),
        flow=FlowConfig(event_size=1, condition_size=3, num_layers=1, condition_units=(16,)),
        training=TrainingConfig(batch_size=128, max_epochs=3, jit_compile="off"),
    )
    run = start_run(config, path / "run", announce=lambda _: None)
    again = continue_run(path / "run", announce=lambda _: None)
    assert again.condition_columns == run.condition_columns
    np.testing.assert_array_equal(again.distribution.variables[0], run.distribution.variables[0])
    return measure_run(ReportOptions(run=path / "run"), announce=lambda _: None)


def test_the_category_that_matters_most_leads(report):
    assert report.conditional_columns == ("region", "store", "income")
    assert report.influence[0] > 3 * max(report.influence[1:])


def test_pictures_are_of_one_category_each(report):
    seen = [np.unique(report.rows.c[picture.neighbourhood.rows, 0]) for picture in report.pictures]
    assert {len(values) for values in seen} == {1}
    assert {values[0] for values in seen} == {0.0, 1.0, 2.0}


def test_the_figures_are_those_of_the_run(report):
    """The rows are read again with the run's vocabulary, and the model is given their encoding."""
    model, _, linear = report.likelihoods.each
    assert model.nll == pytest.approx(report.summary.test_nll, abs=1e-4)
    assert linear.nll == pytest.approx(np.log(np.sqrt(2 * np.pi * np.e)), abs=0.15)  # the truth is linear but for nulls


def test_the_page_shows_what_the_model_remembers_of_training(report):
    page = draw_page(report)
    assert "What the model remembers of training" in page
    shares = dict(zip(report.profile.condition[0].categories, report.profile.condition[0].shares, strict=True))
    assert set(shares) == set(REGIONS)
    assert f"north {percent(shares['north'])}" in page
    assert f"<td>{report.profile.condition[2].nulls:,}</td>" in page
    older = draw_page(dataclasses.replace(report, profile=None))
    assert "nothing, since the run was trained before there was such a thing" in older


def test_the_page_names_values(report):
    page = draw_page(report)
    assert "region = north" in page
    assert "region = &lt;b&gt;south&lt;/b&gt;" in page
    assert "<b>south" not in page
    assert "income (null in" in page
    assert "10 entries for 3 columns" in page
    asked = commands(report)["Ask for the conditional_input of raw columns"]
    assert '"signature_name": "encode_condition"' in asked
    assert '"null_categories"' in asked
