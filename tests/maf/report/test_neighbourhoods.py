import numpy as np
import pytest

from maf.report.neighbourhoods import QUANTILES, choose_neighbourhoods, influence
from maf.report.rows import ReportRows
from maf_serving.moments import Covariances


def report_rows(x, c):
    moments = Covariances(x.shape[1] + c.shape[1])
    moments.add(np.concatenate([x, c], axis=1))
    return ReportRows(x=x, c=c, test_rows=len(x), dropped=0, training=moments, scaled=moments)


def test_one_condition_is_cut_at_its_quantiles():
    c = np.random.default_rng(0).permutation(np.linspace(0, 100, 10_001))[:, None]
    found = choose_neighbourhoods(report_rows(c + 1, c))
    assert [each.condition[0] for each in found] == pytest.approx([100 * q for q in QUANTILES], abs=0.05)
    for each in found:
        assert len(each.rows) == 400
        assert np.abs(c[each.rows] - each.condition).max() == pytest.approx(2, abs=0.05)


def test_of_several_conditions_the_one_that_matters_leads():
    rng = np.random.default_rng(1)
    c = rng.normal([0, 1_000], [1, 300], (5_000, 2))
    rows = report_rows(3 * c[:, :1] + rng.normal(size=(5_000, 2)), c)
    conditions = np.stack([each.condition for each in choose_neighbourhoods(rows)])
    assert len(conditions) == 4
    steps = np.diff(conditions[:, 0])
    assert (steps > 0).all() or (steps < 0).all()
    assert influence(rows)[0] > 10 * influence(rows)[1]


def test_conditions_of_two_values_make_two_neighbourhoods():
    c = np.repeat([[0.0], [1.0]], 500, axis=0)
    assert len(choose_neighbourhoods(report_rows(c + np.random.default_rng(0).normal(size=c.shape), c))) == 2


def test_without_conditions_all_rows_are_one():
    (only,) = choose_neighbourhoods(report_rows(np.ones((30, 2)), np.zeros((30, 0))))
    assert len(only.rows) == 30
    assert only.condition.shape == (0,)
