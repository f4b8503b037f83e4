import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf.errors import DataError
from maf.table import open_files


def write_csv(path, text):
    path.write_text(text)
    return str(path)


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def read(patterns, columns):
    return np.concatenate(list(open_files(patterns, columns).batches()))


def test_parquet_and_csv_in_order_with_columns_in_the_order_asked_for(tmp_path):
    write_parquet(tmp_path / "b.parquet", c=[1, 2], skip=["u", "v"], y=[0.5, 1.5])
    write_csv(tmp_path / "a.csv", "y,c\n7,8.25\n9,\n")
    rows = read([str(tmp_path / "*.parquet"), str(tmp_path / "a.csv")], ["y", "c"])
    np.testing.assert_array_equal(rows, [[0.5, 1], [1.5, 2], [7, 8.25], [9, np.nan]])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 0, None], pa.int8()),
        pa.array([1, 0, None], pa.uint64()),
        pa.array([1, 0, None], pa.float16()),
        pa.array([True, False, None]),
        pa.array([1, 0, None], pa.decimal128(5, 2)),
    ],
    ids=lambda column: str(column.type),
)
def test_every_numeric_type_becomes_float64_and_null_becomes_nan(tmp_path, column):
    rows = read([write_parquet(tmp_path / "a.parquet", y=column)], ["y"])
    np.testing.assert_array_equal(rows, [[1], [0], [np.nan]])
    assert rows.dtype == np.float64


def test_integers_that_float64_cannot_hold_are_rounded(tmp_path):
    rows = read([write_parquet(tmp_path / "a.parquet", y=[2**53 + 1])], ["y"])
    assert rows[0, 0] == 2**53


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: "nowhere.csv", "no file matches 'nowhere.csv'"),
        (lambda path: str(path), "directory .* has no file"),
        (lambda path: write_csv(path / "a.txt", "y\n1\n"), "is of no known kind"),
        (lambda path: write_csv(path / "a.csv", "x\n1\n"), "has no column 'y'; its columns: x"),
        (
            lambda path: write_csv(path / "a.csv", "x,Y\n1,2\n"),
            r"has no column 'y'; did you mean 'Y'\? its columns: x, Y",
        ),
        (lambda path: write_csv(path / "a.csv", "y,y\n1,2\n"), r"names column\(s\) y more than once"),
        (
            lambda path: write_csv(path / "a.csv", "y\nhigh\nlow\n"),
            r"row 0 \(from 0\): y: not a number: 'high'; expected numbers",
        ),
        (lambda path: write_csv(path / "a.csv", ""), "cannot be read"),
        (lambda path: write_csv(path / "a.parquet", "no parquet"), "cannot be read"),
        (
            lambda path: write_parquet(path / "a.parquet", y=["high"]),
            r"row 0 \(from 0\): y: not a number: 'high'; expected numbers",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_when_opened(tmp_path, make, message):
    with pytest.raises(DataError, match=message) as error:
        open_files([make(tmp_path)], ["y"])
    assert "\n" not in str(error.value)


def test_text_further_down_a_csv_is_refused_by_name_and_value(tmp_path):
    path = write_csv(tmp_path / "a.csv", "y\n" + "1.5\n" * 300_000 + "high\n")
    with pytest.raises(DataError, match=r"a\.csv, row 300000 \(from 0\): y: not a number: 'high'; expected numbers"):
        read([path], ["y"])


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path, y=np.arange(100_000.0))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        open_files([str(path)], ["y"])


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.bz2", "csv.zst"])
def test_numbers_of_csv_are_read_whatever_its_compression(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    text = "\ufeffy,flag\n1,True\n#NA,false\n nan ,\n-inf,TRUE\n"
    compression = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}.get(suffix.rpartition(".")[2])
    with pa.output_stream(path, compression=compression) as stream:
        stream.write(text.encode())
    rows = read([str(path)], ["y", "flag"])
    np.testing.assert_array_equal(rows, [[1, 1], [np.nan, 0], [np.nan, np.nan], [-np.inf, 1]])


def test_a_row_that_cannot_be_read_is_named(tmp_path):
    path = write_csv(tmp_path / "a.csv", "y,c\n1,2\n3\n")
    with pytest.raises(DataError, match=r"a\.csv, row 1 \(from 0\): ragged row: 1 fields where the header has 2; mend"):
        read([path], ["y"])
    (tmp_path / "b.csv").write_bytes("y,c\n1,2\n".encode("utf-16"))
    with pytest.raises(DataError, match="its header is not UTF-8: it is UTF-16; say --csv_encoding utf-16"):
        open_files([str(tmp_path / "b.csv")], ["y"])
