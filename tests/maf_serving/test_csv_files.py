"""CSV files as Arrow columns: every row once, whatever stands in the cells around it."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io

import numpy as np
import pyarrow as pa
import pytest

from maf_serving import csv_files
from maf_serving.byte_stream import CHUNK_BYTES, decompress
from maf_serving.csv_files import read_rows
from maf_serving.csv_head import CsvError, RepeatedNameError, read_head
from maf_serving.table_formats import Damage, InputBatch, find_compression, find_format


def opener(data: bytes, compression: str | None = None):
    @contextlib.contextmanager
    def open_chunks():
        yield decompress(io.BytesIO(data), compression)

    return open_chunks


def read(text, columns, *, batch_rows=1000, compression=None):
    """Values by row, reasons by row, and the damage."""
    data = text if isinstance(text, bytes) else text.encode()
    values, reasons, damage = {}, {}, None
    for part in read_rows(opener(data, compression), columns, file="a.csv", batch_rows=batch_rows):
        if isinstance(part, InputBatch):
            rows = part.rows.to_pylist()
            assert part.columns.schema.names == list(columns)
            assert len(rows) == part.columns.num_rows <= batch_rows
            found = dict(zip(rows, part.columns.to_pylist(), strict=True))
        elif isinstance(part, Damage):
            damage = part
            continue
        else:
            rows = part.table["row"].to_pylist()
            assert sum(part.kinds.values()) == len(rows)
            found = dict(zip(rows, part.table["reason"].to_pylist(), strict=True))
        assert not found.keys() & {**values, **reasons}.keys()
        (values if isinstance(part, InputBatch) else reasons).update(found)
    return values, reasons, damage


def test_kinds_of_the_model():
    text = 'n,i,s\n1.5,7,a\n NA ,#NA,NA\n,null,\ntrue,7.0,"a, b"\n'
    values, reasons, damage = read(text, {"s": "string", "n": "number", "i": "integer"})
    assert [values[row]["s"] for row in range(4)] == [b"a", b"NA", None, b"a, b"]
    assert [values[row]["n"] for row in range(4)] == [b"1.5", None, None, b"true"]  # to be judged in validation
    assert [values[row]["i"] for row in range(4)] == [b"7", None, None, b"7.0"]
    assert (reasons, damage) == ({}, None)


def test_what_is_as_it_should_be_is_read_straight_to_its_type():
    text = "n,i,s,b\n1.5,7,a,True\n NaN ,#NA,NA,\n1e400,,,FALSE\n"
    values, *_ = read(text, {"n": "number", "i": "integer", "s": "string", "b": "number"})
    assert [values[row]["n"] for row in range(3)] == [1.5, pytest.approx(np.nan, nan_ok=True), np.inf]
    assert [values[row]["i"] for row in range(3)] == [7, None, None]
    assert [values[row]["s"] for row in range(3)] == ["a", "NA", None]
    assert [values[row]["b"] for row in range(3)] == [True, None, False]


@pytest.mark.parametrize("block_bytes", [60, 200, 4 << 20])
def test_a_cell_that_is_none_costs_no_other_row(block_bytes, monkeypatch):
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", block_bytes)
    generator = np.random.default_rng(block_bytes)
    lines, expected, ragged = [b"n,k,skip"], {}, {}
    for row in range(500):
        kind = generator.choice(["plain"] * 30 + ["text", "long", "short", "latin", "wrong"])
        if kind in {"long", "short"}:
            lines.append(b"1" if kind == "short" else b"1,2,3,\xff")
            ragged[row] = f"ragged row: {1 if kind == 'short' else 4} fields where the header has 3"
        else:
            number = {"text": "abc"}.get(kind, str(row))
            lines.append(f"{number},{'x' if kind == 'wrong' else row},".encode() + b"\xff" * (kind == "latin"))
            expected[row] = number
            if kind == "wrong":
                ragged[row] = "k: wrong type: expected a whole number, got 'x'"
                del expected[row]
    values, reasons, damage = read(b"\n".join(lines) + b"\n", {"n": "number", "k": pa.int64()}, batch_rows=7)
    assert damage is None
    assert reasons == ragged
    as_text = {
        row: found["n"].decode() if isinstance(found["n"], bytes) else f"{found['n']:g}"
        for row, found in values.items()
    }
    assert as_text == expected
    assert [values[row]["k"] for row in sorted(values)] == sorted(values)


def test_columns_that_are_carried_through():
    types = {"i": pa.int64(), "f": pa.float64(), "b": pa.bool_(), "s": pa.string()}
    text = "i,f,b,s\n7,1.50,True,NA\n,NA,,\n07,1,1,x\n8,007.5,no,x\n9,x,true,x\n"
    values, reasons, _ = read(text, types)
    assert values == {
        0: {"i": 7, "f": 1.5, "b": True, "s": "NA"},
        1: dict.fromkeys(types),
    }
    assert reasons == {
        2: "i: wrong type: expected a whole number, got '07'",
        3: "f: wrong type: expected a number, got '007.5'",
        4: "f: wrong type: expected a number, got 'x'",
    }


@pytest.mark.parametrize(
    ("cells", "exact"),
    [
        (["1", "-20", "", "0"], pa.int64()),
        (["007", "1"], pa.string()),
        (["1", "2.5", "NA", "1e3"], pa.float64()),
        (["00.5", "1"], pa.string()),
        (["True", "", "false"], pa.bool_()),
        (["True", "1"], pa.string()),
        (["2024-01-01"], pa.string()),
        (["", ""], pa.string()),
        (["12345678901234567890"], pa.string()),
        (["1234567890123456", "0.5"], pa.string()),
    ],
)
def test_a_column_can_be_carried_through_as_what_its_first_rows_are(cells, exact):
    head = read_head(opener("\n".join(["x,y", *(f"{cell},1" for cell in cells)]).encode()))
    assert head.exact.field("x").type == exact
    assert (head.names, head.has_rows) == (("x", "y"), True)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"gr\xf6\xdfe\n1\n", CsvError, "its header is not UTF-8: byte 0xF6"),
        ("x,y\n1,2\n".encode("utf-16"), CsvError, "UTF-16; say --csv_encoding utf-16"),
        (b"x,y,x\n1,2,3\n", RepeatedNameError, r"names column\(s\) x more than once"),
    ],
)
def test_heads_that_are_none(data, kind, message):
    with pytest.raises(kind, match=message):
        read_head(opener(data))


@pytest.mark.parametrize("data", [b"", b"x,y", b"x,y\n", b"\xef\xbb\xbfx,y\n"])
def test_heads_without_rows(data):
    head = read_head(opener(data))
    assert (head.names, head.has_rows) == (("x", "y") if data else (), False)


@pytest.mark.parametrize("compression", ["gzip", "bz2", "zstd"])
def test_compressed_files_of_several_members_and_damaged_ones(compression):
    compress = {
        "gzip": gzip.compress,
        "bz2": bz2.compress,
        "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    }[compression]
    lines = [f"{row},{row * 7919 % 104729}\n".encode() for row in range(400_000)]
    data = b"n,skip\n" + b"".join(lines)
    assert len(data) > 4 * CHUNK_BYTES
    whole = compress(data[: len(data) // 2]) + compress(data[len(data) // 2 :])
    values, reasons, damage = read(whole, {"n": "number"}, compression=compression, batch_rows=100_000)
    assert (len(values), reasons, damage) == (400_000, {}, None)
    values, _, damage = read(whole[: -len(whole) // 8], {"n": "number"}, compression=compression, batch_rows=100_000)
    assert damage.first_row == len(values) > 200_000
    assert all(found["n"] == row for row, found in values.items())


def test_formats_are_known_by_their_suffix():
    assert [find_format(name) for name in ("a.CSV", "b.csv.gz", "c.parquet.gz", "d.jsonl.zst", "e.txt", "f.pq")] == [
        "csv", "csv", None, "jsonl", None, "parquet",
    ]  # fmt: skip
    assert [find_compression(name) for name in ("a.csv", "a.csv.GZ", "a.csv.bz2", "a.zst")] == [
        None, "gzip", "bz2", "zstd",
    ]  # fmt: skip
