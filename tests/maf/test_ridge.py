import numpy as np
import pytest

from maf.starting_point import PENALTIES, fit_ridge

RNG = np.random.default_rng(0)


def test_a_line_is_found_and_the_error_is_that_of_new_rows():
    c = RNG.normal(size=(2_000, 3))
    y = np.stack([2 * c[:, 0] - c[:, 2] + 5 + 0.1 * RNG.normal(size=2_000), RNG.normal(size=2_000)], axis=1)
    fit = fit_ridge(c, y)
    assert fit.weights[:, 0] == pytest.approx([2, 0, -1], abs=0.01)
    assert fit.intercept[0] == pytest.approx(5, abs=0.01)
    assert fit.error == pytest.approx([0.1, 1.0], rel=0.05)


def test_the_error_is_that_of_leaving_out_each_row():
    c, y = RNG.normal(size=(12, 4)), RNG.normal(size=(12, 1))

    def error_of(penalty):
        errors = []
        for row in range(len(c)):
            others = np.arange(len(c)) != row
            centred = c - c.mean(axis=0)  # one centre for all, as one fit has it
            a = np.concatenate([np.ones((len(c), 1)), centred], axis=1)
            penalties = np.diag([0.0, *[penalty * len(c)] * 4])
            weights = np.linalg.solve(a[others].T @ a[others] + penalties, a[others].T @ y[others])
            errors.append((y[row] - a[row] @ weights) ** 2)
        return np.sqrt(np.mean(errors))

    mean_variance = c.var(axis=0).mean()
    assert fit_ridge(c, y).error[0] == pytest.approx(min(error_of(p) for p in PENALTIES * mean_variance), rel=1e-6)


@pytest.mark.parametrize("columns", [1, 30, 200])
def test_noise_is_not_learnt_by_heart_however_many_columns_there_are(columns):
    fit = fit_ridge(RNG.normal(size=(100, columns)), RNG.normal(size=(100, 1)))
    new = RNG.normal(size=(5_000, columns))
    predictions = new @ fit.weights + fit.intercept
    assert predictions.std() < 0.5
    assert fit.error[0] > 0.7


def test_columns_that_are_constant_or_repeat_each_other_do_no_harm():
    c = RNG.normal(size=(500, 1))
    fit = fit_ridge(np.concatenate([c, c, np.zeros((500, 1))], axis=1), 3 * c)
    assert fit.weights[:, 0] == pytest.approx([1.5, 1.5, 0], abs=0.01)
    assert fit_ridge(np.zeros((500, 2)), c).weights.tolist() == [[0], [0]]
