"""A model whose condition has categories and nulls is fed raw columns, whatever holds them."""

from __future__ import annotations

import csv
import decimal
import io
import json
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import (
    EvaluateOptions,
    SampleOptions,
    ScoreOptions,
    UsageError,
    evaluate_table,
    sample_table,
    score_table,
)
from beam_jobs.options.endpoint_options import EndpointOptions
from tests.beam_jobs.write_table import frame
from tests.shop_model import BIG_STORE, log_prob, save_shop_model

NAMES = ("x0", "x1", "region", "price", "store", "temperature")
# Every state of every column; the unknown ones are counted.
ROWS = [
    (0.5, -1.0, "north", 1.5, 7, 20.0),
    (0.5, -1.0, "süd", 1.5, -12, None),
    (0.5, -1.0, None, -2.0, BIG_STORE, 20.0),
    (0.5, -1.0, "west", 0.0, BIG_STORE - 1, None),
    (0.5, -1.0, " north", 0.0, 8, -3.0),
] * 40
UNKNOWN = {"region": 80, "store": 80}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_shop_model(tmp_path_factory.mktemp("models") / "shop")


@pytest.fixture
def score_shop(shop, tmp_path):
    def run(path, output="scores", **options):
        names = {"model": str(shop), "input_patterns": (str(path),), "output": str(tmp_path / output)}
        summary = score_table(ScoreOptions(**names, batch_size=64, **{"max_rejected": 1.0, **options}))
        scored = pq.ParquetDataset(sorted((tmp_path / output).glob("scored-*"))).read().sort_by("row")
        rejected = pq.ParquetDataset(sorted((tmp_path / output).glob("_rejected-*"))).read()
        assert scored.num_rows + rejected.num_rows == summary.rows_read
        return summary, scored, dict(zip(rejected["row"].to_pylist(), rejected["reason"].to_pylist(), strict=True))

    return run


def table(rows=ROWS, **types) -> pa.Table:
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    return pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})


def write_rows(path: Path) -> Path:
    """`ROWS` in the format of the extension."""
    rows = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    if path.suffix == ".parquet":
        pq.write_table(table(), path, row_group_size=70)
    elif path.suffix == ".csv":
        text = io.StringIO()
        csv.writer(text).writerows([NAMES, *ROWS])
        path.write_text(text.getvalue(), encoding="utf-8")
    elif path.suffix == ".jsonl":
        lines = [json.dumps({name: value for name, value in row.items() if value is not None}) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif path.suffix == ".avro":
        types = {"region": ["null", "string"], "store": "long", "temperature": ["null", "double"]}
        fields = [{"name": name, "type": types.get(name, "double")} for name in NAMES]
        with path.open("wb") as stream:
            fastavro.writer(stream, {"type": "record", "name": "row", "fields": fields}, rows)
    else:
        path.write_bytes(b"".join(frame(example(row)) for row in rows))
    return path


def example(row: dict) -> bytes:
    import tensorflow as tf  # noqa: PLC0415  # its own serialization

    def feature(value):
        if isinstance(value, str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))

    features = {name: feature(value) for name, value in row.items() if value is not None}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.mark.parametrize("extension", ["parquet", "csv", "jsonl", "avro", "tfrecord"])
def test_raw_columns_of_every_format_are_scored(extension, score_shop, tmp_path):
    summary, scored, reasons = score_shop(write_rows(tmp_path / f"a.{extension}"), keep=("region", "store"))
    assert reasons == {}
    assert summary.unknown_categories == UNKNOWN
    np.testing.assert_allclose(scored["log_prob"].to_numpy(), [log_prob(*row) for row in ROWS], rtol=1e-5)
    kept = [value.decode() if isinstance(value, bytes) else value for value in scored["region"].to_pylist()]
    assert kept == [row[2] for row in ROWS]
    assert [int(value) for value in scored["store"].to_pylist()] == [row[4] for row in ROWS]


@pytest.mark.parametrize(
    "types",
    [
        {"region": pa.large_string(), "store": pa.decimal128(38, 2), "temperature": pa.float32()},
        {"region": pa.dictionary(pa.int8(), pa.string()), "store": pa.dictionary(pa.int32(), pa.int64())},
        {"region": pa.binary(), "price": pa.decimal128(9, 3)},
    ],
)
def test_raw_columns_of_every_type_of_arrow_are_scored(types, score_shop, tmp_path):
    rows = [
        tuple(decimal.Decimal(v) if n == "price" and n in types else v for n, v in zip(NAMES, r, strict=True))
        for r in ROWS
    ]
    pq.write_table(table(rows, **types), tmp_path / "a.parquet")
    summary, scored, reasons = score_shop(tmp_path / "a.parquet")
    assert reasons == {}
    assert summary.unknown_categories == UNKNOWN
    np.testing.assert_allclose(scored["log_prob"].to_numpy(), [log_prob(*row) for row in ROWS], rtol=1e-5)


@pytest.mark.parametrize("store", [pa.int32(), pa.int8(), pa.float64(), pa.uint64()])
def test_integers_of_every_width_are_the_same_category(store, score_shop, tmp_path):
    row = (0.5, -1.0, "north", 1.5, 7, float("nan"))
    pq.write_table(table([row], store=store), tmp_path / "a.parquet")
    summary, scored, _ = score_shop(tmp_path / "a.parquet")
    assert scored["log_prob"].to_pylist() == pytest.approx([log_prob(*row)], rel=1e-5)
    assert summary.unknown_categories == {"region": 0, "store": 0}


@pytest.mark.parametrize("signature", ["log_prob", "inverse"])
def test_a_server_encodes_and_scores_raw_columns(signature, shop, score_shop, tmp_path):
    from serving_config.local_server.model_config import ModelConfig  # noqa: PLC0415  # loads TensorFlow
    from tests.serving_config.local_server.support import running  # noqa: PLC0415

    path = write_rows(tmp_path / "a.parquet")
    with running(ModelConfig(name="shop", base_path=str(shop))) as run:
        endpoint = EndpointOptions(target=f"127.0.0.1:{run.server.port}", model_name="shop", max_rows=50)
        summary, scored, _ = score_shop(path, endpoint=endpoint, signature_name=signature)
    np.testing.assert_allclose(scored["log_prob"].to_numpy(), [log_prob(*row) for row in ROWS], rtol=1e-5)
    assert summary.unknown_categories == UNKNOWN


def test_a_row_is_rejected_for_what_the_model_cannot_take(score_shop, tmp_path):
    good = {"x0": "1", "x1": "2", "region": "north", "price": "3", "store": "7", "temperature": "4"}
    faults = [
        ({"price": ""}, "price: null"),
        ({"price": "nan"}, "price: NaN"),
        ({"price": "NA"}, "price: null"),
        ({"price": "cheap"}, "price: not a number: 'cheap'"),
        ({"temperature": "-inf"}, "temperature: infinite"),
        ({"temperature": "1e39"}, "temperature: overflow: 1e39 does not fit float32"),
        ({"temperature": "warm"}, "temperature: not a number: 'warm'"),
        ({"store": ""}, "store: null"),
        ({"store": "7.5"}, "store: not an integer: '7.5'"),
        ({"store": "seven"}, "store: not an integer: 'seven'"),
        ({"store": "9223372036854775808"}, "store: overflow: 9223372036854775808 does not fit int64"),
        ({"store": "1e999999999"}, "store: overflow: 1e999999999 does not fit int64"),
        ({"store": "nan"}, "store: NaN"),
        ({"store": "inf"}, "store: infinite"),
        ({"region": b"\xff"}, "region: not UTF-8: byte 0xFF in '\\xff'"),
        ({"x1": "", "price": "cheap"}, "x1: null"),
    ]
    states = [{"region": ""}, {"temperature": "NA"}, {"temperature": "NaN"}, {"store": " +7.0"}, {"store": "7e0"}]
    rows = [good | change for change in [*states, *(change for change, _ in faults)]]
    lines = [b",".join(v if isinstance(v, bytes) else v.encode() for v in row.values()) for row in rows]
    (tmp_path / "a.csv").write_bytes(b"\n".join([",".join(good).encode(), *lines]))
    summary, scored, reasons = score_shop(tmp_path / "a.csv")
    assert reasons == {row: reason for row, (_, reason) in enumerate(faults, len(states))}
    assert scored["row"].to_pylist() == list(range(len(states)))
    expected = [
        log_prob(1, 2, *raw) for raw in [(None, 3, 7, 4), *[("north", 3, 7, None)] * 2, *[("north", 3, 7, 4)] * 2]
    ]
    np.testing.assert_allclose(scored["log_prob"].to_numpy(), expected, rtol=1e-5)
    assert summary.unknown_categories == {"region": 0, "store": 0}


def test_a_value_of_another_type_rejects_its_row_of_json(score_shop, tmp_path):
    good = {"x0": 1, "x1": 2, "region": "north", "price": 3, "store": 7, "temperature": 4}
    changes = [{"region": 5}, {"store": True}, {"store": [7]}, {"store": 7.5}, {"store": "7"}, {"store": 7.0}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(good | change) for change in changes))
    _, scored, reasons = score_shop(tmp_path / "a.jsonl")
    assert reasons == {
        0: "region: wrong type: expected text, got 5",
        1: "store: not an integer: 'true'",
        2: "store: not an integer: '[7]'",
        3: "store: not an integer: '7.5'",
    }
    assert scored["log_prob"].to_pylist() == pytest.approx([log_prob(1, 2, "north", 3, 7, 4)] * 2, rel=1e-5)


def test_columns_that_cannot_be_taken_are_named_one_by_one(score_shop, tmp_path):
    columns = table().rename_columns(["x0", "x1", "store", "price", "region", "temperature"])
    pq.write_table(columns, tmp_path / "a.parquet")
    expected = "region of .* holds whole numbers; expected text; and store holds text; expected whole numbers"
    with pytest.raises(UsageError, match=expected):
        score_shop(tmp_path / "a.parquet")
    pq.write_table(columns.drop_columns(["store", "temperature"]), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"column\(s\) store, temperature not in"):
        score_shop(tmp_path / "a.parquet")


def test_raw_columns_can_be_called_something_else(score_shop, tmp_path):
    names = ["x0", "x1", "gebiet", "preis", "laden", "temperatur"]
    pq.write_table(table().rename_columns(names), tmp_path / "a.parquet")
    summary, scored, _ = score_shop(tmp_path / "a.parquet", conditional_columns=tuple(names[2:]))
    np.testing.assert_allclose(scored["log_prob"].to_numpy(), [log_prob(*row) for row in ROWS], rtol=1e-5)
    assert summary.unknown_categories == {"gebiet": 80, "laden": 80}


def test_draws_depend_on_the_raw_condition_and_carry_it_through(shop, run_job, tmp_path):
    conditions = [(None, None, *row[2:]) for row in ROWS[:5]]
    pq.write_table(table(conditions).drop_columns(["x0", "x1"]), tmp_path / "a.parquet")
    options = {"model": str(shop), "num_samples": 2_000, "seed": 3, "keep": ("*",)}
    for batch_size in (700, 16384):
        output = run_job(
            sample_table,
            SampleOptions,
            str(tmp_path / "a.parquet"),
            output=f"b{batch_size}",
            batch_size=batch_size,
            **options,
        )
        drawn = pq.read_table(output / "samples-00000-of-00001.parquet")
        assert drawn.schema.field("region").type == pa.string()
        assert drawn.num_rows == 10_000
        for row in drawn.slice(0, 10_000).take(list(range(0, 10_000, 97))).to_pylist():
            raw = (row["region"], row["price"], row["store"], row["temperature"])
            assert raw == ROWS[row["row"]][2:]
            assert row["log_prob"] == pytest.approx(log_prob(row["x0"], row["x1"], *raw), rel=1e-3)
    summary = json.loads((output / "_summary.json").read_text())
    assert summary["unknown_categories"] == {"region": 2, "store": 2}


def test_an_evaluation_groups_by_a_raw_column(shop, run_job, tmp_path):
    pq.write_table(table(), tmp_path / "a.parquet")
    output = run_job(
        evaluate_table, EvaluateOptions, str(tmp_path / "a.parquet"), model=str(shop), group_column="region"
    )
    summary = json.loads((output / "_summary.json").read_text())
    groups = {group["group"]: group["mean_nll"] for group in summary["groups"]}
    assert groups["north"] == pytest.approx(-log_prob(*ROWS[0]), rel=1e-4)
    assert groups["(null)"] == pytest.approx(-log_prob(*ROWS[2]), rel=1e-4)
    assert summary["unknown_categories"] == UNKNOWN
    assert "p(x0, x1 | region, price, store, temperature)" in (output / "report.html").read_text()
