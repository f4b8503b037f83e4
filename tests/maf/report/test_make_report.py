import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf.errors import DataError, RunError
from maf.report.make_report import measure_run
from maf.report.options import ReportOptions
from tests.maf.report.conftest import COLUMNS, make_rows

KINDS = sorted(COLUMNS)


def quiet(_):
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_the_test_nll_is_that_of_the_run(report_of, kind):
    report = report_of(kind)
    model, *baselines = report.likelihoods.each
    assert len(report.rows.x) == report.rows.test_rows == report.summary.test_rows
    assert model.nll == pytest.approx(report.summary.test_nll, abs=1e-4)
    assert model.standard_error == pytest.approx(report.summary.test_nll_standard_error, rel=1e-3)
    assert [each.name for each in baselines] == ["Gaussian", *["conditional linear Gaussian"] * bool(COLUMNS[kind][1])]
    for each in baselines:
        assert each.excess == pytest.approx(each.nll - model.nll, abs=1e-6)
    assert report.likelihoods.rows_without_density == 0


@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_those_of_the_training_rows(report_of, kind):
    report = report_of(kind)
    assert report.rows.training.count == report.summary.training_rows
    rows = make_rows(*map(len, COLUMNS[kind]), 4_000, KINDS.index(kind) if kind == "one" else list(COLUMNS).index(kind))
    np.testing.assert_allclose(report.rows.training.mean, rows.mean(axis=0), rtol=0.01)


def test_curves_of_one_event_column_are_densities(report_of):
    for picture in report_of("one").pictures:
        (curve,) = picture.curves
        step = curve.points[1] - curve.points[0]
        assert curve.density.sum() * step == pytest.approx(1, abs=0.06)
        widths = np.diff(curve.rows.edges)
        assert (curve.rows.density * widths).sum() == pytest.approx(1, abs=0.02)


def test_clouds_lie_where_their_rows_are(report_of):
    report = report_of("two")
    for picture in report.pictures:
        cloud = picture.cloud
        axes = [each.grid(len(cloud.density)) for each in cloud.ranges]
        weights = cloud.density / cloud.density.sum()
        centre = [(weights.sum(axis=0) * axes[0]).sum(), (weights.sum(axis=1) * axes[1]).sum()]
        around = report.rows.x[picture.neighbourhood.rows]
        assert np.abs(centre - around.mean(axis=0)).max() < 0.6 * around.std(axis=0).max()
        assert len(cloud.dots) <= 260


def test_more_columns_are_drawn_by_draws(report_of):
    report = report_of("three")
    (picture,) = report.pictures
    assert [curve.column for curve in picture.curves] == [0, 1, 2]
    assert report.pairs.rows.shape == report.pairs.draws.shape
    assert report_of("one").pairs is None


def test_a_sample_of_many_rows_is_the_same_each_time(report_of):
    report, whole = report_of("one", max_rows=100), report_of("one")
    assert report.rows.test_rows == whole.rows.test_rows
    assert report.rows.x.shape == (100, 1)
    assert np.isin(report.rows.x, whole.rows.x).all()
    np.testing.assert_array_equal(report_of("one", max_rows=100, exact_entropy=1.0).rows.x, report.rows.x)


def test_rows_of_another_table(runs, tmp_path):
    rows = make_rows(1, 1, 500, 99)
    rows[:3, 0] = np.nan
    pq.write_table(pa.table({"c": rows[:, 1], "id": np.arange(500), "y": rows[:, 0]}), tmp_path / "test.parquet")
    report = measure_run(ReportOptions(run=runs["one"], test=(str(tmp_path / "test.parquet"),)), announce=quiet)
    assert report.rows.test_rows == 497
    assert report.rows.dropped == 3
    np.testing.assert_allclose(report.rows.c[:, 0], rows[3:, 1], rtol=1e-6)


def test_what_cannot_be_read_again_is_named(runs, tmp_path):
    with pytest.raises(DataError, match=r"cannot be read again: no file matches 'none\.csv'"):
        measure_run(ReportOptions(run=runs["one"], test=("none.csv",)), announce=quiet)
    run = shutil.copytree(runs["one"], tmp_path / "run")
    table = tmp_path / "table.parquet"
    pq.write_table(pq.read_table(runs["one"].with_suffix(".parquet")).slice(100), table)
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace(str(runs["one"].with_suffix(".parquet")), str(table)))
    with pytest.raises(DataError, match="the table has changed; name test rows of their own with --test"):
        measure_run(ReportOptions(run=run), announce=quiet)
    (run / "history.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match=r"history\.jsonl cannot be read"):
        measure_run(ReportOptions(run=run), announce=quiet)
