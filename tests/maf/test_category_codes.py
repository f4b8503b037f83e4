import numpy as np
import pyarrow as pa
import pytest

from maf import table
from maf.errors import DataError
from maf.table import CategoryCodes


def test_codes_come_in_order_of_appearance_and_null_is_nan():
    codes = CategoryCodes("c", "string")
    np.testing.assert_array_equal(codes(pa.array(["b", None, "a", "b"])), [0, np.nan, 1, 0])
    np.testing.assert_array_equal(codes(pa.array(["c", "a"], pa.large_string())), [2, 1])
    np.testing.assert_array_equal(codes(pa.array(["a", None]).dictionary_encode()), [1, np.nan])
    assert len(codes(pa.array([], pa.string()))) == 0


def test_integers_also_come_as_floats():
    codes = CategoryCodes("c", "integer")
    np.testing.assert_array_equal(codes(pa.array([7.0, np.nan, None, -(2.0**40)])), [0, np.nan, np.nan, 1])
    np.testing.assert_array_equal(codes(pa.array([-(2**40), 7], pa.int64())), [1, 0])


def test_the_vocabulary_is_the_most_frequent_values():
    codes = CategoryCodes("c", "string")
    codes(pa.array(["rare", "b", "a", "<other>", "often", "unseen"]))
    vocabulary, places = codes.choose(np.array([2, 5, 5, 99, 50]), most=2, least=3)
    assert vocabulary == ("often", "a")  # of equally frequent ones the first in the alphabet
    np.testing.assert_array_equal(places, [2, 2, 1, 2, 0, 2])
    with pytest.raises(DataError, match="no value of conditional column 'c' is in 60 training rows"):
        codes.choose(np.array([2, 5, 5, 99, 50]), most=2, least=60)


def test_a_known_vocabulary_takes_no_new_value():
    codes = CategoryCodes("c", "integer", (30, 10))
    np.testing.assert_array_equal(codes(pa.array([10, 5, None, 30])), [1, 2, np.nan, 0])


def test_a_column_of_very_many_values_is_refused(monkeypatch):
    monkeypatch.setattr(table, "MOST_DISTINCT", 10)
    codes = CategoryCodes("customer", "integer")
    codes(pa.array(range(10)))
    with pytest.raises(DataError, match="'customer' has more than 10 different values"):
        codes(pa.array([10]))
