"""One nasty CSV file for training, a batch job, the client and Python: the same rows, nulls, values and reasons."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import gzip
import math
import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from beam_jobs import ScoreOptions, score_table
from beam_jobs.options.flags import parse_score_flags
from beam_jobs.options.job_options import Files
from beam_jobs.sources.input_files import find_sources, inspect_sources
from maf.errors import DataError
from maf.table import CategoryCodes, open_files
from maf_serving.errors import UsageError
from maf_serving.model_inputs import make_inputs
from maf_serving.saved_model import LoadedModel
from maf_serving.table_formats import USUAL_CSV, CsvDialect
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
    (b"1,1,s\xfcd,1,7,20,x", "region: not UTF-8: byte 0xFC in 's\\xfcd'"),
    (b"1,1,north,1,7,20,\xff", "note: not UTF-8: byte 0xFF in '\\xff'"),
    (b"cheap,1,north,1,7,20,x", "x0: not a number: 'cheap'"),
    (b"1,1,north,1,7.5,20,x", "store: not an integer: '7.5'"),
    (b"-1,0.25,<other>,-2,8,0,007", (-1, 0.25, "<other>", -2, 8, 0)),
]
EXPECTED = dict(enumerate(expected for _, expected in LINES if expected is not None))
NOTES = {1: "a, b", 2: None, 13: 'two\nlines, "quoted"', 21: "007"}

OTHER_LINES = [
    ("1;2;north;1,5;7;20;plain", (1, 2, "north", 1.5, 7, 20)),
    ('0,5;-1;NA;1;-12;21;"a; b"', (0.5, -1, "NA", 1, -12, 21)),
    ("1;1;;1;7;22;", (1, 1, None, 1, 7, 22)),
    ("#NA;1;north;1;7;20;x", "x0: null"),
    ("1;1;north;1;NULL;20;x", "store: null"),
    ("nan;1;north;1;7;20;x", "x0: NaN"),
    ("1;inf;north;1;7;NaN;x", "x1: infinite"),
    ("True;FALSE;north;true;7;false;x", (1, 0, "north", 1, 7, 0)),
    ("12.345,25;1;north;-1.234.567;7;20;1.000", (12345.25, 1, "north", -1234567, 7, 20)),
    ("1;1;s\u00fcd; 2,5 ;9.007.199.254.740.993;+3e0;two,\u20ac", (1, 1, "s\u00fcd", 2.5, 2**53 + 1, 3)),
    ("1;1;north;1;7,0;20;x", (1, 1, "north", 1, 7, 20)),
    ("1;1;1.000;1;8;20;x", (1, 1, "1.000", 1, 8, 20)),  # a text is no number
    ("1.5;1;north;1;7;20;x", "x0: not a number: '1.5'"),
    ("1;1;north;1.23;7;20;x", "price: not a number: '1.23'"),
    ("1;1;north;1;7,5;20;x", "store: not an integer: '7,5'"),
    ("1;1;north", "ragged row: 3 fields where the header has 7"),
    ("cheap;1;north;1;7;20;x", "x0: not a number: 'cheap'"),
]
OTHER_EXPECTED = dict(enumerate(expected for _, expected in OTHER_LINES))
OTHER_NOTES = {1: "a; b", 2: None, 8: "1.000", 9: "two,\u20ac"}
OTHER = CsvDialect(delimiter=";", decimal=",", thousands=".")


def write(path, lines):
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + b"\r\n".join([HEADER, *lines]) + b"\r\n"))
    return path


def write_other(path, encoding, lines=OTHER_LINES):
    text = "\r\n".join([HEADER.decode().replace(",", ";"), *(line for line, _ in lines)]) + "\r\n"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return save_shop_model(tmp_path_factory.mktemp("models") / "shop")


@pytest.fixture
def nasty(tmp_path):
    return write(tmp_path / "nasty.csv.gz", [line for line, _ in LINES])


def assert_scored_and_rejected_as_expected(scored: pa.Table, rejected: pa.Table, expected=EXPECTED, notes=NOTES):
    every, right_notes = expected, notes
    reasons = dict(zip(rejected["row"].to_pylist(), rejected["reason"].to_pylist(), strict=True))
    assert reasons == {row: expected for row, expected in every.items() if isinstance(expected, str)}
    log_probs = dict(zip(scored["row"].to_pylist(), scored["log_prob"].to_pylist(), strict=True))
    values = {row: expected for row, expected in every.items() if not isinstance(expected, str)}
    assert log_probs == pytest.approx({row: log_prob(*expected) for row, expected in values.items()}, rel=1e-4)
    notes = dict(zip(scored["row"].to_pylist(), scored["note"].to_pylist(), strict=True))
    assert {row: notes[row] for row in right_notes if row in notes} == {
        row: note for row, note in right_notes.items() if row in notes
    }


def test_a_batch_job(shop, nasty, tmp_path):
    options = ScoreOptions(
        max_rejected=1.0,
        model=str(shop),
        input_patterns=(str(nasty),),
        output=str(tmp_path / "out"),
        keep=("note",),
        batch_size=5,
    )
    summary = score_table(options)
    assert summary.rows_read == len(EXPECTED)
    assert_scored_and_rejected_as_expected(*results(tmp_path))


def results(tmp_path):
    return (
        pq.ParquetDataset(sorted((tmp_path / "out").glob(f"{prefix}-*"))).read() for prefix in ("scored", "_rejected")
    )


def test_a_batch_job_of_another_dialect(shop, tmp_path):
    path = write_other(tmp_path / "a.csv", "cp1252")
    flags = [f"--model={shop}", f"--input={path}", f"--output={tmp_path / 'out'}", "--keep=note", "--rows_per_call=5"]
    options, _ = parse_score_flags([*flags, *shlex.split(OTHER.flags), "--csv_encoding=cp1252"])
    assert score_table(options).rows_read == len(OTHER_LINES)
    assert_scored_and_rejected_as_expected(*results(tmp_path), OTHER_EXPECTED, OTHER_NOTES)


def test_a_batch_job_in_python_of_another_dialect(shop, tmp_path):
    path = write_other(tmp_path / "a.csv", "utf-16")
    csv = dataclasses.replace(OTHER, encoding="utf-16")
    assert ms.score(shop, path, output=tmp_path / "out", keep="note", csv=csv).rows_read == len(OTHER_LINES)
    assert_scored_and_rejected_as_expected(*results(tmp_path), OTHER_EXPECTED, OTHER_NOTES)


class Server:
    """Stands in for a client: answers with the signatures of the model itself."""

    def __init__(self, version) -> None:
        self._model = LoadedModel.load(version)

    def predict(self, signature_name, inputs, *, rows_per_request=None):
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


def test_the_client_of_another_dialect(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(table_call, "open_client", lambda _: contextlib.nullcontext(Server(shop / "1")))
    path = write_other(tmp_path / "a.csv", "utf-16")
    flags = ["log_prob", "--rest_url=http://localhost:1", "--model_name=shop", f"--model={shop}", "--keep=note"]
    flags += [f"--input={path}", f"--output={tmp_path / 'o.parquet'}", "--rows_per_request=3", "--concurrency=1"]
    flags += [*shlex.split(OTHER.flags), "--csv_encoding=utf-16"]
    assert table_call.call_table(parse_call(flags)).rows == len(OTHER_LINES)
    scored, rejected = (pq.read_table(tmp_path / name) for name in ("o.parquet", "o.rejected.parquet"))
    assert_scored_and_rejected_as_expected(scored, rejected, OTHER_EXPECTED, OTHER_NOTES)


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


def open_training(path, dialect=USUAL_CSV):
    condition = ("region", "price", "store", "temperature")
    return open_files([str(path)], COLUMNS, condition=condition, categorical=("store",), dialect=dialect)


def usable_lines(lines):
    return [(line, expected) for line, expected in lines if not any(fault in str(expected) for fault in FAULTS)]


def test_training_reads_the_same_values_and_nulls(tmp_path):
    usable = usable_lines(LINES)
    table = open_training(write(tmp_path / "a.csv.gz", [line for line, _ in usable]))
    assert_read_as_expected(table, usable)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_training_reads_the_same_of_another_dialect(tmp_path, encoding):
    usable = usable_lines(OTHER_LINES)
    dialect = dataclasses.replace(OTHER, encoding=encoding)
    assert_read_as_expected(open_training(write_other(tmp_path / "a.csv", encoding, usable), dialect), usable)


def assert_read_as_expected(table, usable):
    assert table.categories == {"region": "string", "store": "integer"}
    regions = ("north", "NA", "süd", 'x, "y"', "<other>", "1.000")
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
        with pytest.raises(
            DataError, match=r"a\.csv\.gz, row 3 \(from 0\): x0: not a number: 'cheap'; expected numbers"
        ):
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


@pytest.mark.parametrize("row", [12, 13])
def test_training_names_a_number_that_the_dialect_does_not_have(tmp_path, row):
    path = write_other(tmp_path / "a.csv", "utf-8", [*OTHER_LINES[:3], OTHER_LINES[row]])
    with pytest.raises(DataError, match=r"row 3 \(from 0\): (x0: not a number: '1\.5'|price: not a number: '1\.23')"):
        list(
            open_training(path, OTHER).batches(
                {"region": CategoryCodes("region", "string"), "store": CategoryCodes("store", "integer")}
            )
        )


HINTS = [
    ("x0;x1\n10,20;4,5\n", r"lines look like several; say --csv_delimiter ';' --csv_decimal ','$"),
    ("x0\tx1\n1\t2\n", r"say --csv_delimiter tab$"),
    ('x0,x1\n7,1\n"20,000.00",1\n', r"thousands separators, such as '20,000.00'; say --csv_thousands ','$"),
    ('x0,x1\n"1,234",1\n', r"say --csv_thousands ',', or --csv_decimal ',' if it is before the fraction$"),
    ('x0,x1\n"10,2",1\n', r"a comma before the fraction, such as '10,2'; say --csv_decimal ','$"),
    ('x0,x1\n"1.234,5",1\n', r"say --csv_decimal ',' --csv_thousands '.'$"),
    ("x0,x1\n1 234.5,1\n", r"say --csv_thousands ' '$"),
    ("gr\u00f6\u00dfe,x1\n1,2\n", r"not UTF-8: byte 0xF6 in 'gr\\xf6\\xdfe'; say its --csv_encoding, such as latin-1"),
]


@pytest.mark.parametrize(("text", "hint"), HINTS)
def test_what_the_first_lines_look_like_is_said_with_the_flag(tmp_path, monkeypatch, text, hint):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=hint):
        open_files([str(path)], ["x0", "x1"], condition=["x0"])
    inputs = make_inputs(["x"], event=("x0", "x1"), condition=(), encodes=False, dtype="float32")
    sources = find_sources([Files(str(path))])
    with pytest.raises(UsageError, match=hint.removesuffix("$")):
        inspect_sources(sources, inputs=inputs, on_bad_file="fail")
    monkeypatch.setattr(table_call, "open_client", contextlib.nullcontext)
    monkeypatch.setattr(table_call, "_dtype", lambda *_: "float32")  # as a server says it
    flags = ["log_prob", "--rest_url=http://localhost:1", "--model_name=shop", "--event=x0,x1", f"--input={path}"]
    with pytest.raises(UsageError, match=hint.removesuffix("$")):
        table_call.call_table(parse_call(flags))
