"""One nasty CSV file for training, a batch job, the client and Python: the same rows, nulls, values and reasons."""

from __future__ import annotations

import contextlib
import csv
import gzip
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from beam_jobs import ScoreOptions, score_table
from maf.errors import DataError
from maf.table import CategoryCodes, open_files
from maf_serving.saved_model import LoadedModel
from serving_config.client import table_call
from serving_config.client.options import parse_call
from tests.shop_model import log_prob, save_shop_model

HEADER = b"x0,x1,region,price,store,temperature,note"
NAMES = HEADER.decode().split(",")
# Each line with what the model is to see of it, or why it cannot; the note is carried through.
LINES = [
    (b"1,2,north,1.5,7,20,plain", (1, 2, "north", 1.5, 7, 20)),
    (b'0.5,-1,NA,1,-12,21,"a, b"', (0.5, -1, "NA", 1, -12, 21)),  # a country
    (b"1,1,,1,7,22,", (1, 1, None, 1, 7, 22)),
    (b"#NA,1,north,1,7,20,x", "x0: null"),
    (b"1,,north,1,7,20,x", "x1: null"),
    (b"1,1,north,#N/A N/A,7,20,x", "price: null"),
    (b"1,1,north,1,NULL,20,x", "store: null"),
    (b"1,1,north,1,7,n/a,x", (1, 1, "north", 1, 7, None)),
    (b"1,1,north,1,7,NaN,x", (1, 1, "north", 1, 7, None)),
    (b"nan,1,north,1,7,20,x", "x0: NaN"),
    (b"1,inf,north,1,7,20,x", "x1: infinite"),
    (b"1e400,1,north,1,7,20,x", "x0: infinite"),
    (b"True,FALSE,north,true,7,false,x", (1, 0, "north", 1, 7, 0)),
    (b'1,1,"s\xc3\xbcd",1,9007199254740993,20,"two\nlines, ""quoted"""', (1, 1, "süd", 1, 2**53 + 1, 20)),
    (b'1,1,"x, ""y""",  2.5 ,7.0,+3e0,x', (1, 1, 'x, "y"', 2.5, 7, 3)),
    (b"", None),  # no row
    (b"1,1,north", "ragged row: 3 fields where the header has 7"),
    (b"1,1,north,1,7,20,x,y", "ragged row: 8 fields where the header has 7"),
    (b"1,1,s\xfcd,1,7,20,x", "region: not UTF-8"),
    (b"1,1,north,1,7,20,\xff", "note: not UTF-8"),
    (b"cheap,1,north,1,7,20,x", "x0: not a number: 'cheap'"),
    (b"1,1,north,1,7.5,20,x", "store: not an integer: '7.5'"),
    (b"-1,0.25,<other>,-2,8,0,007", (-1, 0.25, "<other>", -2, 8, 0)),
]
EXPECTED = dict(enumerate(expected for _, expected in LINES if expected is not None))
NOTES = {1: "a, b", 2: None, 13: 'two\nlines, "quoted"', 21: "007"}


def write(path, lines):
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + b"\r\n".join([HEADER, *lines]) + b"\r\n"))
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return save_shop_model(tmp_path_factory.mktemp("models") / "shop")


@pytest.fixture
def nasty(tmp_path):
    return write(tmp_path / "nasty.csv.gz", [line for line, _ in LINES])


def assert_scored_and_rejected_as_expected(scored: pa.Table, rejected: pa.Table):
    reasons = dict(zip(rejected["row"].to_pylist(), rejected["reason"].to_pylist(), strict=True))
    assert reasons == {row: expected for row, expected in EXPECTED.items() if isinstance(expected, str)}
    log_probs = dict(zip(scored["row"].to_pylist(), scored["log_prob"].to_pylist(), strict=True))
    values = {row: expected for row, expected in EXPECTED.items() if not isinstance(expected, str)}
    assert log_probs == pytest.approx({row: log_prob(*expected) for row, expected in values.items()}, rel=1e-4)
    notes = dict(zip(scored["row"].to_pylist(), scored["note"].to_pylist(), strict=True))
    assert {row: notes[row] for row in NOTES if row in notes} == {
        row: note for row, note in NOTES.items() if row in notes
    }


def test_a_batch_job(shop, nasty, tmp_path):
    options = ScoreOptions(
        model=str(shop), input_patterns=(str(nasty),), output=str(tmp_path / "out"), keep=("note",), batch_size=5
    )
    summary = score_table(options)
    assert summary.rows_read == len(EXPECTED)
    scored, rejected = (
        pq.ParquetDataset(sorted((tmp_path / "out").glob(f"{prefix}-*"))).read() for prefix in ("scored", "_rejected")
    )
    assert_scored_and_rejected_as_expected(scored, rejected)


class Server:
    """Stands in for a client: answers with the signatures of the model itself."""

    def __init__(self, version) -> None:
        self._model = LoadedModel.load(version)

    def predict(self, signature_name, inputs):
        inputs = {name: np.asarray(array) for name, array in inputs.items()}
        return self._model.run(signature_name, inputs)


def test_the_client(shop, nasty, tmp_path, monkeypatch):
    monkeypatch.setattr(table_call, "open_client", lambda _: contextlib.nullcontext(Server(shop / "1")))
    flags = ["log_prob", "--rest_url=http://localhost:1", "--model_name=shop", f"--model={shop}", "--keep=note"]
    flags += [f"--input={nasty}", f"--output={tmp_path / 'o.parquet'}", "--rows_per_request=3", "--concurrency=1"]
    result = table_call.call_table(parse_call(flags))
    assert result.rows == len(EXPECTED)
    assert_scored_and_rejected_as_expected(
        pq.read_table(tmp_path / "o.parquet"), pq.read_table(tmp_path / "o.rejected.parquet")
    )


COLUMNS = [name for name in NAMES if name != "note"]
FAULTS = ("ragged row", "not UTF-8", "not a number", "not an integer")
IN_NO_TABLE = ("ragged row", "not UTF-8", "not an integer")  # of columns that have a type


def test_python(shop):
    lines = {
        row: line
        for row, line in enumerate(line for line, expected in LINES if expected is not None)
        if not any(fault in str(EXPECTED[row]) for fault in IN_NO_TABLE)
    }
    cells = list(csv.reader(line.decode() for line in lines.values()))
    columns = {
        name: [text or None for text in column] for name, column in zip(NAMES, zip(*cells, strict=True), strict=True)
    }
    for name in COLUMNS:
        if name != "region":  # what Arrow, as pandas, takes for null in a column of numbers
            columns[name] = [None if text in ("#NA", "#N/A N/A", "NULL", "n/a") else text for text in columns[name]]
    columns["store"] = [None if text is None else int(text.removesuffix(".0")) for text in columns["store"]]
    model = ms.load(shop)
    reasons = dict(zip(lines, model.check(columns).to_pylist(), strict=True))
    log_probs = dict(zip(lines, model.log_prob(columns).to_pylist(), strict=True))
    for row, expected in ((row, EXPECTED[row]) for row in lines):
        if isinstance(expected, str):
            assert (reasons[row], log_probs[row]) == (expected, None)
        else:
            assert reasons[row] is None
            assert log_probs[row] == pytest.approx(log_prob(*expected), rel=1e-4)


def open_training(path):
    return open_files(
        [str(path)], COLUMNS, condition=("region", "price", "store", "temperature"), categorical=("store",)
    )


def test_training_reads_the_same_values_and_nulls(tmp_path):
    usable = [(line, expected) for line, expected in LINES if not any(fault in str(expected) for fault in FAULTS)]
    table = open_training(write(tmp_path / "a.csv.gz", [line for line, _ in usable]))
    assert table.categories == {"region": "string", "store": "integer"}
    regions = ("north", "NA", "süd", 'x, "y"', "<other>")
    stores = (7, -12, 2**53 + 1, 8)
    codes = {"region": CategoryCodes("region", "string", regions), "store": CategoryCodes("store", "integer", stores)}
    read = np.concatenate(list(table.batches(codes)))
    expected = [expected for _, expected in usable if expected is not None]
    assert len(read) == len(expected)
    for row, what in zip(read, expected, strict=True):
        if isinstance(what, str):  # null, NaN or infinite in the column that a job names: dropped, or a state
            name, _, fault = what.partition(": ")
            value = row[COLUMNS.index(name)]
            assert math.isinf(value) if fault == "infinite" else math.isnan(value)
            continue
        x0, x1, region, price, store, temperature = what
        place = math.nan if region is None else regions.index(region)
        numbers = [x0, x1, place, price, stores.index(store), math.nan if temperature is None else temperature]
        np.testing.assert_array_equal(row, numbers)


@pytest.mark.parametrize(
    ("row", "reason"),
    [(row, reason) for row, reason in EXPECTED.items() if any(fault in str(reason) for fault in FAULTS)],
)
def test_training_names_what_it_cannot_read(tmp_path, row, reason):
    lines = [line for line, expected in LINES if expected is not None]
    path = write(tmp_path / "a.csv.gz", [*lines[:3], lines[row]])
    if "cheap" in reason:  # among the first rows, which say what the column is
        with pytest.raises(DataError, match=r"column 'x0' of .* is string; expected numbers"):
            open_training(path)
        return
    table = open_training(path)
    codes = {name: CategoryCodes(name, kind) for name, kind in table.categories.items()}
    if reason.startswith("note"):  # which training does not read
        assert len(np.concatenate(list(table.batches(codes)))) == 4
        return
    with pytest.raises(DataError) as refused:
        list(table.batches(codes))
    assert f"row 3 (from 0): {reason}" in str(refused.value)
