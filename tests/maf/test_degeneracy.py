import re

import numpy as np
import pytest

from maf.preparation import describe_degeneracies

RNG = np.random.default_rng(0)
N = 3_000
C = RNG.normal(size=N)
NOISE = RNG.normal(size=N)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.round(3 * C), "event column 'y' has .* distinct values in 3,000 rows: .* --dequantize y=1$"),
        (
            np.where(np.arange(N) % 50 == 0, 0.0, NOISE),
            r"event column 'y' is 0 in 2\.0% of the rows: .*--dequantize y=",
        ),
        (3 * C - 7, "event column 'y' is a function of 'c': .* --dequantize y=WIDTH"),
        (np.tanh(C) + 1e-4 * NOISE, "event column 'y' is a function of 'c'"),
    ],
    ids=["integers", "spike", "linear", "nonlinear"],
)
def test_what_has_no_density_is_said_in_one_line(y, message):
    lines = describe_degeneracies(np.stack([y, C], axis=1), ["y"], ["c"])
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert re.search(message, lines[0]), lines[0]


@pytest.mark.parametrize(
    "y",
    [C + 0.3 * NOISE, NOISE, np.round(NOISE, 2), C + np.where(RNG.random(N) < 0.5, 1, -1), np.exp(2 * NOISE)],
    ids=["correlated", "independent", "two decimals", "two branches", "skewed"],
)
def test_what_has_a_density_is_not_complained_of(y):
    assert describe_degeneracies(np.stack([y, C], axis=1), ["y"], ["c"]) == []


def test_two_event_columns_that_are_functions_of_each_other_give_one_line():
    lines = describe_degeneracies(np.stack([C, C**3, NOISE], axis=1), ["a", "b"], ["c"])
    assert len(lines) == 1
    assert "'a' is a function of 'b'" in lines[0]


def test_a_linear_function_of_several_columns_is_said_with_their_names():
    other = RNG.normal(size=N)
    rows = np.stack([NOISE, 3 * C - 2 * other + 7, C, RNG.normal(size=N), other, np.ones(N)], axis=1)
    (line,) = describe_degeneracies(rows, ["x", "y"], ["c0", "c1", "c2", "c3"])
    assert line.startswith("event column 'y' is a linear function of 'c0', 'c2': given these, it has no density; ")
    (line,) = describe_degeneracies(np.stack([C + other, C, other], axis=1), ["a", "b", "c"], [])
    assert line.startswith("event column 'a' is a linear function of 'b', 'c'")


def test_what_is_nearly_linear_or_has_few_rows_or_heavy_tails_is_not_complained_of():
    heavy, other = RNG.standard_cauchy(N) ** 3, RNG.normal(size=N)
    for y, c in ((C + other + 0.03 * NOISE, C), (heavy + NOISE, heavy)):
        assert describe_degeneracies(np.stack([y, c, other], axis=1), ["y"], ["c0", "c1"]) == []
    few = RNG.normal(size=(40, 30))
    assert describe_degeneracies(few, ["y"], [f"c{i}" for i in range(29)]) == []


def test_a_condition_that_is_a_function_of_another_is_no_matter():
    assert describe_degeneracies(np.stack([NOISE, C, C**3], axis=1), ["y"], ["c0", "c1"]) == []


def test_many_whole_numbers_are_said_with_the_flag():
    counts = RNG.poisson(5_000, N).astype(float)
    (line,) = describe_degeneracies(np.stack([counts, C], axis=1), ["visits"], ["c"])
    assert line.startswith("event column 'visits' is whole numbers: the model is continuous, its draws are fractions")
    assert "and may be negative" in line
    assert line.endswith("train with --dequantize visits=1 --lower_bound visits=0")
    (line,) = describe_degeneracies(np.stack([counts - 5_000, C], axis=1), ["change"], ["c"])
    assert "negative" not in line
    assert line.endswith("train with --dequantize change=1")
