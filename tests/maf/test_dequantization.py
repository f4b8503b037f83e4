import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import DataConfig
from maf.errors import ConfigError
from maf.rows import split_table
from maf.standardization import dequantized, noise_widths


def config(**other):
    return DataConfig(**{"data": ("a.parquet",), "event": ("u", "v"), "condition": ("c",), **other})


def test_noise_is_uniform_on_the_named_event_columns_alone_and_decided_by_the_seed():
    widths = noise_widths(config(dequantize=("v=0.5",)))
    rows = np.tile(np.array([1, 2, 3], np.float32), (20_000, 1))
    noisy = dequantized(rows, widths, seed=(0, 1))
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(noisy[:, [0, 2]], rows[:, [0, 2]])
    assert (noisy[:, 1].min(), noisy[:, 1].max()) == (pytest.approx(1.75, abs=1e-3), pytest.approx(2.25, abs=1e-3))
    assert noisy[:, 1].std() == pytest.approx(0.5 / np.sqrt(12), rel=0.02)
    np.testing.assert_array_equal(noisy, dequantized(rows, widths, seed=(0, 1)))
    assert (noisy != dequantized(rows, widths, seed=(0, 2))).any()


def test_without_widths_rows_are_as_they_were():
    rows = np.ones((3, 3))
    assert noise_widths(config()) is None
    assert dequantized(rows, None, seed=(0,)) is rows


@pytest.mark.parametrize("item", ["v", "v=", "v=wide", "v=0", "v=-1", "c=1", "w=1"])
def test_what_makes_no_sense_is_refused(item):
    with pytest.raises(ConfigError, match="dequantize has"):
        config(dequantize=(item,))


def test_held_out_rows_are_noisy_once_and_a_constant_column_becomes_uniform(tmp_path):
    columns = {"u": np.zeros(5_000), "v": np.arange(5_000.0), "c": np.arange(5_000.0)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    data = config(data=(str(tmp_path / "a.parquet"),), dequantize=("u=2",))
    rows = split_table(data, tmp_path / "rows", dtype="float64", seed=0)
    assert (rows.training[:, 0] == 0).all()  # the fit adds new noise at each step
    assert rows.standardization.event_scale[0] == pytest.approx(2 / np.sqrt(12))
    assert rows.test[:, 0].std() == pytest.approx(2 / np.sqrt(12), rel=0.1)
    again = split_table(data, tmp_path / "again", dtype="float64", seed=0)
    np.testing.assert_array_equal(again.validation, rows.validation)
