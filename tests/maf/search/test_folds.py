import numpy as np
import pytest

from maf.errors import DataError
from maf.rows import Rows
from maf.search.study import count_folds, other_folds
from maf.standardization import Standardization


def rows_of(training, validation):
    numbers = np.arange(training + validation, dtype=np.float32)[:, None]
    return Rows(
        training=numbers[:training],
        validation=numbers[training:],
        test=numbers[:0],
        dropped=0,
        standardization=Standardization(*np.array([[0.0], [1.0]]), np.zeros(0), np.zeros(0)),
        constant=(),
        columns=(),
        findings=(),
    )


def test_folds_have_all_rows_and_no_validation_row_in_common():
    rows = rows_of(90, 10)
    folds = [rows, *other_folds(rows, 10, seed=3)]
    for fold in folds:
        assert sorted(np.concatenate([fold.training, fold.validation])[:, 0]) == list(range(100))
    held_out = np.concatenate([fold.validation for fold in folds])[:, 0]
    assert sorted(held_out) == list(range(100))
    again = list(other_folds(rows, 10, seed=3))
    assert all(np.array_equal(a.validation, b.validation) for a, b in zip(folds[1:], again, strict=True))
    assert not np.array_equal(next(other_folds(rows, 2, seed=4)).validation, folds[1].validation)


@pytest.mark.parametrize(
    ("training", "validation", "asked", "count"),
    [(900, 100, None, 5), (900, 100, 1, 1), (900, 100, 10, 10), (90, 60, None, 2), (50_000, 100, None, 1)],
)
def test_few_rows_are_split_several_times(training, validation, asked, count):
    assert count_folds(rows_of(training, validation), asked) == count


def test_more_folds_than_there_are_rows_for_are_refused():
    with pytest.raises(DataError, match="folds is 11 but 900 training and 100 validation rows make at most 10"):
        count_folds(rows_of(900, 100), 11)
