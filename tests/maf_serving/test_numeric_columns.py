"""The two ways text becomes a number, at once or value by value, agree on what a number is."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa

from maf_serving.arrow_columns import to_floats


def reads_as_number(text: str) -> bool:
    try:
        return float(pa.array([text]).cast(pa.float64())[0].as_py()) is not None
    except pa.ArrowInvalid:
        return False


def test_a_value_reads_the_same_whatever_its_neighbours_are():
    texts = ["".join(characters) for size in (1, 2, 3, 4) for characters in itertools.product("+-.1eE", repeat=size)]
    texts += ["inf", "+inf", "-Infinity", "1e400", "1e-400", "1_0", "1f", "0x1", "1,5", "\u0661", "infinit"]
    texts = [text for text in texts if reads_as_number(text)]
    alone = np.array([to_floats(pa.array([text]))[0] for text in texts])
    among_others = to_floats(pa.array([*texts, "no number"]))[:-1]
    assert len(texts) > 50
    np.testing.assert_array_equal(alone, among_others)


def test_what_is_no_number_is_nan():
    texts = pa.array(["", " ", "abc", "1_0", "1,5", "0x1", "--1", "e", "1 2", "\u0661", None, "nan"])
    assert np.isnan(to_floats(texts)).all()
