"""Every format of the output holds the same rows; Avro and TFRecord are read back by our readers and by others."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import io
import json
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_jobs import (
    EvaluateOptions,
    SampleOptions,
    ScoreOptions,
    UsageError,
    evaluate_table,
    sample_table,
    score_table,
)
from beam_jobs.options.job_options import COMPRESSIONS, OUTPUT_FORMATS
from beam_jobs.output.avro import avro_schema, encode_records
from beam_jobs.output.byte_columns import contents
from beam_jobs.output.table_format import TableFormat
from beam_jobs.sources.input_files import FORMATS
from beam_jobs.sources.source import ReadPlan

DAY = dt.date(1969, 12, 30)
NOON = dt.datetime(1950, 1, 2, 12, 0, 0, 123456)
IN_UTC = NOON.replace(tzinfo=dt.timezone.utc)
QUICK = settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck), derandomize=True)
NUMBERS = {"int": pa.int32(), "long": pa.int64(), "float": pa.float32()}


def columns_of_every_type() -> dict[str, pa.Array]:
    values = {
        pa.int8(): [-128, None, 127],
        pa.int32(): [-(2**31), None, 2**31 - 1],
        pa.uint32(): [0, None, 2**32 - 1],
        pa.int64(): [-(2**63), None, 2**63 - 1],
        pa.float32(): [1.5, None, float("inf")],
        pa.float64(): [0.1, None, -1e300],
        pa.bool_(): [True, None, False],
        pa.string(): ["", None, "naïve, \n"],
        pa.large_string(): ["a", None, "b" * 200],
        pa.binary(): [b"\xff\x00", None, b""],
        pa.date32(): [DAY, None, dt.date(2024, 2, 29)],
        pa.timestamp("s"): [dt.datetime(1, 1, 1), None, dt.datetime(2024, 1, 1)],
        pa.timestamp("us"): [NOON, None, dt.datetime(2024, 1, 1)],
        pa.timestamp("us", tz="UTC"): [IN_UTC, None, IN_UTC],
        pa.timestamp("ns", tz="UTC"): [-(2**60) - 1, None, 1],
        pa.timestamp("ns"): [-(2**60) - 1, None, 1],
        pa.time32("s"): [dt.time(1, 2, 3), None, dt.time(23, 59, 59)],
        pa.time64("us"): [dt.time(1, 2, 3, 4), None, dt.time(0)],
        pa.decimal128(7, 2): [decimal.Decimal("-123.45"), None, decimal.Decimal("0.01")],
        pa.decimal256(50, 3): [decimal.Decimal("-1e40"), None, decimal.Decimal("0.001")],
        pa.list_(pa.int32()): [[1, None, -3], None, []],
        pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())}): [{"a": 1, "b": ["x", None]}, None, {"a": None}],
    }
    return {f"c{number}": pa.array(each, kind) for number, (kind, each) in enumerate(values.items())}


def write(path, table, **more) -> str:
    name = path.name.removesuffix(".gz")
    compression = "gzip" if path.name.endswith(".gz") else COMPRESSIONS[path.suffix[1:]][0]
    form = TableFormat(**{"name": name.rpartition(".")[2], "compression": compression, "rows_per_file": None, **more})
    with path.open("wb") as stream:
        writer = form.open(stream, table.schema)
        writer.write_table(table)
        writer.close()
    return str(path)


def read(path: str) -> pa.Table:
    file = FORMATS[path.removesuffix(".gz").rpartition(".")[2]](path).inspect()
    plan = ReadPlan(model_columns=(), kept=file.schema, batch_size=1000)
    batches = [part.columns for unit in file.units for part in unit.read(plan)]
    return pa.Table.from_batches(batches, file.schema)


@pytest.mark.parametrize("compression", COMPRESSIONS["avro"])
@pytest.mark.parametrize("rows", [slice(0, 3), slice(1, 3), slice(0, 0)])
def test_avro_holds_every_type(rows, compression, tmp_path):
    table = pa.table(columns_of_every_type())[rows]
    back = read(write(tmp_path / "a.avro", table, compression=compression))
    widened = {pa.int8(): pa.int32(), pa.uint32(): pa.int64(), pa.large_string(): pa.string()}
    widened |= {pa.timestamp("s"): pa.timestamp("ms"), pa.time32("s"): pa.time32("ms")}
    assert back.schema.types == [widened.get(kind, kind) for kind in table.schema.types]
    assert back.equals(table.cast(back.schema))


def test_avro_holds_large_numbers_dictionaries_and_what_is_never_null(tmp_path):
    fields = [pa.field("u", pa.uint64()), pa.field("d", pa.dictionary(pa.int8(), pa.string()))]
    schema = pa.schema([*fields, pa.field("n", pa.null()), pa.field("row", pa.int64(), nullable=False)])
    rows = [{"u": 2**64 - 1, "d": "x", "n": None, "row": 1}, {"u": 0, "d": None, "n": None, "row": -2}]
    back = read(write(tmp_path / "a.avro", pa.Table.from_pylist(rows, schema)))
    assert back.to_pylist() == rows
    assert avro_schema(schema)["fields"][3] == {"name": "row", "type": "long"}


@QUICK
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "int": st.none() | st.integers(-(2**31), 2**31 - 1),
                "long": st.none() | st.integers(-(2**63), 2**63 - 1),
                "text": st.none() | st.text(),
                "bytes": st.none() | st.binary(),
                "list": st.none() | st.lists(st.none() | st.text(max_size=3)),
                "float": st.none() | st.floats(width=32, allow_nan=False),
            }
        ),
        max_size=30,
    )
)
def test_avro_rows_are_those_that_fastavro_writes(rows):
    kinds = {**NUMBERS, "text": pa.string(), "bytes": pa.binary(), "list": pa.list_(pa.string())}
    schema = pa.schema({name: kinds[name] for name in ("int", "long", "text", "bytes", "list", "float")})
    batch = pa.RecordBatch.from_pylist(rows, schema)
    encoded = encode_records(batch)
    assert b"".join(encoded.to_pylist()) == bytes(contents(encoded))
    record = fastavro.parse_schema(avro_schema(schema))
    for data, row in zip(encoded.to_pylist(), rows, strict=True):
        assert fastavro.schemaless_reader(io.BytesIO(data), record) == row


@QUICK
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "long": st.none() | st.integers(-(2**63), 2**63 - 1),
                "text": st.none() | st.text(),
                "bytes": st.none() | st.binary(max_size=300),
                "bool": st.none() | st.booleans(),
                "float": st.none() | st.floats(width=32, allow_nan=False),
            }
        ),
        min_size=1,
        max_size=30,
    )
)
def test_tensorflow_reads_the_examples(tmp_path_factory, rows):
    import tensorflow as tf  # noqa: PLC0415  # seconds

    kinds = {"long": pa.int64(), "text": pa.string(), "bytes": pa.binary(), "bool": pa.bool_(), "float": pa.float32()}
    path = tmp_path_factory.mktemp("examples") / "a.tfrecord"
    write(path, pa.Table.from_pylist(rows, pa.schema(kinds)))
    records = [tf.train.Example.FromString(data.numpy()) for data in tf.data.TFRecordDataset(str(path))]
    assert len(records) == len(rows)
    for record, row in zip(records, rows, strict=True):
        feature = record.features.feature
        assert set(feature) == {name for name, value in row.items() if value is not None}
        found = {
            "long": lambda each: list(each.int64_list.value),
            "bool": lambda each: [bool(value) for value in each.int64_list.value],
            "float": lambda each: list(each.float_list.value),
            "text": lambda each: [value.decode() for value in each.bytes_list.value],
            "bytes": lambda each: list(each.bytes_list.value),
        }
        assert {name: found[name](each)[0] for name, each in feature.items()} == {
            name: value for name, value in row.items() if value is not None
        }


@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord.gz"])
def test_our_reader_reads_the_examples(name, tmp_path):
    columns = {
        "id": pa.array([-1, None, 2**62]),
        "small": pa.array([1, 2, 3], pa.uint8()),
        "number": pa.array([0.5, None, 2.0], pa.float32()),
        "text": pa.array(["a", "", None]).dictionary_encode(),
        "fixed": pa.array([b"ab", None, b"cd"], pa.binary(2)),
        "a name, of a kind": pa.array([True, False, None]),
    }
    back = read(write(tmp_path / name, pa.table(columns)))
    # A float is read as a double and text as bytes: TFRecord does not say what it was.
    assert back.to_pylist() == [
        {"id": -1, "small": 1, "number": 0.5, "text": b"a", "fixed": b"ab", "a name, of a kind": 1},
        {"id": None, "small": 2, "number": None, "text": b"", "fixed": None, "a name, of a kind": 0},
        {"id": 2**62, "small": 3, "number": 2.0, "text": None, "fixed": b"cd", "a name, of a kind": None},
    ]


@pytest.mark.parametrize(
    ("form", "column", "message"),
    [
        ("avro", {"m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}, "column m, which is map<"),
        ("avro", {"m": pa.array([1], pa.duration("s"))}, r"column m, which is duration\[s\]; expected parquet"),
        ("avro", {"m": pa.array([1], pa.time64("ns"))}, r"column m, which is time64\[ns\]; expected parquet"),
        ("avro", {"m": [{"a b": 1}]}, "field 'a b': a name of Avro has letters"),
        ("avro", {"store id": [1]}, "column 'store id': a name of Avro has letters"),
        ("tfrecord", {"m": [1.0]}, "column m, which is double: a tf.Example has int64, 32-bit float and bytes alone"),
        ("tfrecord", {"m": pa.array([1], pa.uint64())}, "column m, which is uint64: a tf.Example has"),
        ("tfrecord", {"m": [[1]]}, "column m, which is list<"),
        ("csv", {"m": [[1]]}, "column m, which is list<.*expected parquet, avro or jsonl"),
    ],
)
def test_columns_that_a_format_cannot_hold_are_refused_before_anything_starts(form, column, message, score, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x0": [1.0], "x1": [1.0], "c0": [1.0], **column}), path)
    with pytest.raises(UsageError, match=f"^--output_format {form} cannot hold {message}"):
        score(str(path), keep=tuple(column), output_format=form)
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]


def extension(form: str, compression: str | None) -> str:
    return f".{form}.gz" if compression == "gzip" and form != "parquet" else f".{form}"


@pytest.mark.parametrize(("form", "compression"), [*((form, None) for form in OUTPUT_FORMATS), ("csv", "gzip")])
@pytest.mark.parametrize("job", ["score", "sample", "shards", "nothing"])
def test_the_jobs_write_every_format(job, form, compression, write_parquet, make_columns, run_job, model_base):
    columns = {**make_columns(0 if job == "nothing" else 300, 1), "id": np.arange(0 if job == "nothing" else 300)}
    columns["x0"][5:6] = np.nan
    path = write_parquet("a.parquet", columns)
    common = {"model": str(model_base), "keep": ("id",), "output_format": form, "compression": compression}
    if job == "sample":
        directory = run_job(sample_table, SampleOptions, path, num_samples=1, seed=3, **common)
    else:
        shards = {"num_shards": 3} if job == "shards" else {}
        directory = run_job(score_table, ScoreOptions, path, **common, **shards)
    prefix = "samples" if job == "sample" else "scored"
    files = sorted(directory.glob(f"{prefix}-*"))
    assert all(file.name.endswith(extension(form, compression)) for file in files)
    assert [file.name.endswith(extension(form, compression)) for file in directory.glob("_rejected-*")] == [True]
    assert len(files) == (3 if job == "shards" else 1)
    rows = [row for file in files for row in read(str(file)).to_pylist()]
    expected = {"sample": range(300), "nothing": []}.get(job, [row for row in range(300) if row != 5])
    assert sorted(int(row["id"]) for row in rows) == list(expected)
    assert all(int(row["id"]) == int(row["row"]) for row in rows)
    summary = json.loads((directory / "_summary.json").read_text())
    assert set(summary["output_files"]) | {"_summary.json"} == {file.name for file in directory.iterdir()}


def test_the_values_are_those_of_parquet(write_parquet, make_columns, run_job, model_base):
    path = write_parquet("a.parquet", {**make_columns(200, 1), "id": pa.array([None, *range(199)], pa.int32())})
    tables = {}
    for form in OUTPUT_FORMATS:
        for compression in COMPRESSIONS[form][:2]:
            options = {"keep": ("id",), "output_format": form, "compression": compression}
            output = f"{form}-{compression}"
            directory = run_job(score_table, ScoreOptions, path, model=str(model_base), output=output, **options)
            (file,) = directory.glob("scored-*")
            tables[output] = read(str(file))
    expected = tables["parquet-snappy"]
    assert not expected.schema.field("row").nullable
    for name in ("avro-deflate", "avro-none"):
        assert tables[name].schema.types == expected.schema.types
        assert tables[name].to_pylist() == expected.to_pylist()
    for name in ("tfrecord-none", "tfrecord-gzip", "jsonl-none", "jsonl-gzip"):
        assert tables[name]["id"].to_pylist() == expected["id"].to_pylist()
        np.testing.assert_allclose(tables[name]["log_prob"], expected["log_prob"], rtol=1e-6)


def test_an_evaluation_writes_its_rejected_rows_so(write_parquet, make_columns, run_job, model_base):
    columns = make_columns(50, 1)
    columns["x0"][7] = np.nan
    path = write_parquet("a.parquet", columns)
    values = {"model": str(model_base), "output_format": "jsonl", "compression": "gzip"}
    directory = run_job(evaluate_table, EvaluateOptions, path, **values)
    (file,) = directory.glob("_rejected-*.jsonl.gz")
    assert json.loads(gzip.decompress(file.read_bytes())) == {"file": path, "row": 7, "reason": "x0: NaN"}


def test_a_compressed_file_is_the_same_each_time(tmp_path):
    table = pa.table({"a": [1, 2]})
    first, second = (write(tmp_path / f"{name}.csv.gz", table) for name in "ab")
    assert Path(first).read_bytes() == Path(second).read_bytes()
