"""No row is lost, doubled or changed in a batch job, whatever the batches, the files and the values are."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs import ScoreOptions, score_table
from tests.beam_jobs.conftest import log_prob, model_base  # noqa: F401  # a fixture
from tests.beam_jobs.write_table import FORMATS, write_table
from tests.properties.conftest import examples

LARGEST = float(np.finfo(np.float32).max)
VALUES = st.floats(-1e3, 1e3).filter(lambda value: value not in {777.0, 888.0, 999.0})
BAD = st.sampled_from([None, math.nan, math.inf, -math.inf, 1e39, -1e300])


@st.composite
def tables(draw):
    """Columns of some rows, most of them good; a value in float32, as the formats keep it."""
    rows = draw(st.integers(0, 60))
    good = draw(st.lists(VALUES, min_size=3 * rows, max_size=3 * rows))
    values = [float(np.float32(value)) for value in good]
    for place in draw(st.lists(st.integers(0, 3 * rows - 1), max_size=rows // 2)) if rows else ():
        values[place] = draw(BAD)
    return dict(zip(("x0", "x1", "c0"), (values[i * rows : (i + 1) * rows] for i in range(3)), strict=True))


def is_good(value):
    return value is not None and abs(value) <= LARGEST


@examples(6)
@given(
    st.lists(st.tuples(st.sampled_from(FORMATS), tables()), min_size=1, max_size=4),
    st.integers(1, 70),
    st.integers(1, 40),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 25),
)
def test_every_row_comes_out_once(model_base, files, batch_size, row_group_size, num_shards, rows_per_file):  # noqa: F811
    extension = files[0][0]  # a job reads files of one format
    with tempfile.TemporaryDirectory() as directory:
        expected = {}
        for number, (_, columns) in enumerate(files):
            if extension.startswith("tfrecord"):  # a feature that is not there is written otherwise
                columns = {name: [0.5 if v is None else v for v in values] for name, values in columns.items()}  # noqa: PLW2901
            if not columns["x0"] and extension.startswith(("jsonl", "tfrecord")):
                columns = {name: [1.0] for name in columns}  # noqa: PLW2901  # an empty file names no column
            path = write_table(Path(directory) / f"{number}.{extension}", columns, row_group_size)
            for row, values in enumerate(zip(*columns.values(), strict=True)):
                expected[path, row] = values
        output = Path(directory) / "out"
        summary = score_table(
            ScoreOptions(
                max_rejected=1.0,
                model=str(model_base),
                input_patterns=(f"{directory}/*.{extension}",),
                output=str(output),
                batch_size=batch_size,
                **({"num_shards": num_shards} if num_shards else {"rows_per_file": rows_per_file}),
            )
        )
        scored = [row for path in output.glob("scored-*") for row in pq.read_table(path).to_pylist()]
        rejected = [row for path in output.glob("_rejected-*") for row in pq.read_table(path).to_pylist()]
    assert sorted((row["file"], row["row"]) for row in scored + rejected) == sorted(expected)
    good = {key for key, values in expected.items() if all(map(is_good, values))}
    assert {(row["file"], row["row"]) for row in scored} == good
    assert (summary.rows_read, summary.rows_scored, summary.rows_rejected) == (
        len(expected),
        len(scored),
        len(rejected),
    )
    for row in scored:
        values = (np.array([value], np.float64) for value in expected[row["file"], row["row"]])
        assert row["log_prob"] == pytest.approx(log_prob(*values)[0], rel=1e-4, abs=1e-3)
