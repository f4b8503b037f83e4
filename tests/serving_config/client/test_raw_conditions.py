"""Raw columns of a condition, from Python and from tables, over REST and gRPC, to a local server of a real model."""

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from serving_config import Client, UsageError
from serving_config.client.options import parse_call
from serving_config.client.table_call import call_table
from serving_config.errors import InputError
from tests.forked import STDOUT, Forked
from tests.serving_config.served_flow import await_model, free_ports, stop
from tests.shop_model import BIG_STORE, COLUMNS, encode, log_prob, save_shop_model

ROWS = [
    (0.5, -1.0, "north", 1.5, 7, 20.0),
    (0.5, -1.0, "süd", 1.5, -12, None),
    (0.5, -1.0, None, -2.0, BIG_STORE, 20.0),
    (0.5, -1.0, "west", 0.0, BIG_STORE - 1, None),
]
NAMES = ("x0", "x1", "region", "price", "store", "temperature")
X = np.array([row[:2] for row in ROWS])
RAW = {name: [row[index] for row in ROWS] for index, name in enumerate(NAMES) if index >= 2}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return save_shop_model(tmp_path_factory.mktemp("models") / "shop")


@pytest.fixture(scope="module")
def addresses(shop, tmp_path_factory):
    port, rest_port = free_ports(2)
    flags = [f"--model_base={shop}", "--model_name=shop", f"--port={port}", f"--rest_api_port={rest_port}"]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as stream:
        process = Forked(
            [sys.executable, "-m", "serving_config.serve", "--backend=local", *flags],
            stdout=stream,
            stderr=STDOUT,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
    try:
        rest = {"rest_url": f"http://127.0.0.1:{rest_port}"}
        await_model("shop", log, process, **rest)
        yield {"rest": rest, "grpc": {"grpc_target": f"127.0.0.1:{port}"}}
    finally:
        stop(process)


@pytest.fixture(params=["rest", "grpc"])
def at(request, addresses):
    return addresses[request.param]


@pytest.fixture
def client(at):
    with Client("shop", **at, rows_per_request=3) as client:
        yield client


@pytest.fixture
def call(at, shop, tmp_path):
    def call(operation, path, *more):
        ((name, value),) = at.items()
        output = tmp_path / f"{operation}.parquet"
        flags = [operation, f"--{name}={value}", "--model_name=shop", f"--model={shop}", f"--input={path}"]
        rows = call_table(parse_call([*flags, f"--output={output}", "--rows_per_request=3", *more]))
        return rows, pq.read_table(output)

    return call


def table(rows=ROWS):
    return pa.table(dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True)))


def test_raw_columns_become_what_the_model_makes_of_them(client):
    encoded = client.encode_condition(RAW, condition_columns=COLUMNS)
    np.testing.assert_array_equal(encoded, np.float32([encode(*row[2:]) for row in ROWS]))
    np.testing.assert_allclose(client.log_prob(X, encoded), [log_prob(*row) for row in ROWS], rtol=1e-5)
    arrays = RAW | {"temperature": np.array([20, np.nan, 20, np.nan], np.float32), "price": np.float64(RAW["price"])}
    np.testing.assert_array_equal(client.encode_condition(arrays, condition_columns=COLUMNS), encoded)


def test_examples_are_scored_as_they_are(client):
    import tensorflow as tf  # noqa: PLC0415  # its own serialization

    def feature(value):
        if isinstance(value, str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))

    examples = []
    for row in ROWS:
        features = {name: feature(value) for name, value in zip(NAMES, row, strict=True) if value is not None}
        examples.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    np.testing.assert_allclose(client.log_prob_examples(examples), [log_prob(*row) for row in ROWS], rtol=1e-5)
    assert client.log_prob_examples([]).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"store": [7, 7, 7.5, 7]}, r"row 2 of the condition cannot be used: store: not an integer.*7\.5"),
        ({"store": [7, None, 7, 7]}, "row 1 of the condition cannot be used: store: null"),
        (
            {"store": [7, 7, 7, 2**63]},
            "column store of the condition: .*too large.*; expected text, or numbers of at most 64 bits",
        ),
        (
            {"region": ["north", 5, None, "x"]},
            "column region of the condition: .*; expected text, or numbers of at most 64 bits, alone",
        ),
        (
            {"price": ["1", 1, 1, 1]},
            "column price of the condition: .*; expected text, or numbers of at most 64 bits, alone",
        ),
        ({"price": [1.0]}, "price has 1"),
        ({"colour": ["red"] * 4}, "the condition is made of region, price, store, temperature; given: .*colour"),
    ],
)
def test_what_is_no_condition_is_refused_before_it_is_sent(addresses, change, message):
    with Client("shop", **addresses["rest"]) as client, pytest.raises(InputError, match=message):
        client.encode_condition(RAW | change, condition_columns=COLUMNS)


@pytest.mark.parametrize("extension", ["parquet", "csv"])
def test_a_table_of_raw_columns_goes_through_every_operation(extension, call, tmp_path):
    rows, path = ROWS * 3, tmp_path / f"rows.{extension}"
    if extension == "parquet":
        pq.write_table(table(rows), path)
    else:
        pa.csv.write_csv(table(rows), path)
    result, scored = call("log_prob", path, "--keep=region,store")
    assert (result.rows, result.rejected) == (12, 0)
    np.testing.assert_allclose(scored["log_prob"].to_numpy(), [log_prob(*row) for row in rows], rtol=1e-5)
    assert scored["region"].to_pylist() == [row[2] for row in rows]
    _, inverted = call("inverse", path, "--keep=*")
    pq.write_table(inverted.drop_columns(["x0", "x1", "log_prob"]), tmp_path / "z.parquet")
    _, forward = call("forward", tmp_path / "z.parquet")
    np.testing.assert_allclose(forward["x0"].to_numpy(), [row[0] for row in rows], atol=1e-4)
    _, drawn = call("sample", path, "--num_samples=5", "--seed=1", "--keep=region,price,store,temperature")
    for row in drawn.drop_columns(["row", "draw"]).to_pylist():
        expected = log_prob(row["x0"], row["x1"], row["region"], row["price"], row["store"], row["temperature"])
        assert row["log_prob"] == pytest.approx(expected, rel=1e-3)


def test_a_row_that_does_not_fit_is_rejected_and_a_table_is_one_line(call, tmp_path):
    pq.write_table(table([*ROWS, (0.0, 0.0, "north", None, 7, 1.0)]), tmp_path / "a.parquet")
    result, _ = call("log_prob", tmp_path / "a.parquet")
    assert (result.rejected, result.kinds) == (1, {"null": 1})
    (reason,) = pq.read_table(tmp_path / "log_prob.rejected.parquet")["reason"].to_pylist()
    assert reason == "price: null"
    pq.write_table(table().drop_columns(["store"]), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"input column\(s\) store not in"):
        call("inverse", tmp_path / "a.parquet")
