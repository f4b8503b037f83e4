"""`score --with_inverse`: the row in base space beside its log_prob."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from beam_jobs import UsageError


def test_base_space_stands_beside_log_prob(score, write_parquet, make_columns, density):
    columns = make_columns(500, 1)
    result = score(write_parquet("a.parquet", columns), signature_name="inverse", keep=("x0",))
    table = result.scored.sort_by("row")
    assert table.schema.names == ["file", "row", "log_prob", "z_x0", "z_x1", "x0"]
    assert table.schema.field("z_x1").type == pa.float32()
    np.testing.assert_allclose(table["z_x0"], columns["x0"] - columns["c0"], atol=1e-5)
    np.testing.assert_allclose(table["z_x1"], (columns["x1"] + 2 * columns["c0"]) / 3, atol=1e-5)
    np.testing.assert_allclose(table["log_prob"], density(**columns), atol=1e-4)
    assert result.summary.signature_name == "inverse"


def test_a_kept_column_may_not_take_their_names(score, write_parquet, make_columns):
    path = write_parquet("a.parquet", {**make_columns(5, 1), "z_x0": [1] * 5})
    with pytest.raises(UsageError, match=r"column\(s\) z_x0, names that the output needs"):
        score(path, signature_name="inverse", keep=("z_x0",))
