"""TFRecord files whose features are the inputs of the model, as `regress` takes them."""

from __future__ import annotations

import numpy as np
import pytest

from beam_jobs import UsageError
from tests.beam_jobs.write_table import frame


def write(path, records) -> str:
    import tensorflow as tf  # noqa: PLC0415  # its own serialization

    examples = []
    for record in records:
        features = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
            if values and isinstance(values[0], bytes)
            else tf.train.Feature(float_list=tf.train.FloatList(value=values))
            for name, values in record.items()
        }
        examples.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    path.write_bytes(b"".join(frame(each) for each in examples))
    return str(path)


def test_vectors_are_scored_as_columns_are(score, make_columns, density, tmp_path):
    columns = make_columns(300, 2)
    rows = list(zip(*columns.values(), strict=True))
    records = [{"x": [x0, x1], "conditional_input": [c0], "id": [row]} for row, (x0, x1, c0) in enumerate(rows)]
    records[10:200] = [{"x": [x0, x1], "c0": [c0], "id": [row + 10]} for row, (x0, x1, c0) in enumerate(rows[10:200])]
    path = write(tmp_path / "a.tfrecord", records)
    result = score(path, batch_size=64, keep=("id",))
    result.assert_each_row_once({(path, row) for row in range(300)})
    expected = density(**columns)
    for (_, row), value in result.log_probs().items():
        assert value == pytest.approx(expected[row], rel=1e-4, abs=1e-4)
    assert [row["id"] == row["row"] for row in result.scored.to_pylist()] == [True] * 300


def test_a_vector_of_another_size_costs_its_row_alone(score, tmp_path):
    good = {"x": [1.0, 2.0], "conditional_input": [0.0]}
    records = [
        good,
        {**good, "x": [1.0, 2.0, 3.0]},
        {**good, "x": []},
        {**good, "conditional_input": [0.0, 0.0]},
        {**good, "x": [1.0, np.nan]},
        {**good, "x": [b"1.5", b"two"]},
        {"x": [1.0, 2.0]},
        good,
    ]
    path = write(tmp_path / "a.tfrecord", records)
    result = score(path)
    assert {row: reason for (_, row), reason in result.reasons().items()} == {
        1: "x: wrong size: expected 2 values, got 3",
        2: "x: wrong size: expected 2 values, got 0",
        3: "conditional_input: wrong size: expected 1 values, got 2",
        4: "x1: NaN",
        5: "x1: not a number: 'two'",
        6: "c0: null",
    }
    result.assert_each_row_once({(path, row) for row in range(8)})
    assert result.summary.rejected_by_kind == {"NaN": 1, "not a number": 1, "null": 1, "wrong size": 3}


def test_a_file_with_neither_is_refused(score, tmp_path, write_text):
    with pytest.raises(UsageError, match=r"input column\(s\) c0 not in .*; it has: x"):
        score(write(tmp_path / "a.tfrecord", [{"x": [1.0, 2.0]}]))
    with pytest.raises(UsageError, match=r"input column\(s\) x0, x1, c0 not in"):
        score(write_text("a.jsonl", '{"x": [1, 2], "conditional_input": [0]}\n'))
