"""One question, one answer, at every door: the 0.9 quantile of y = c + N(0, 0.3), summaries and probabilities.

line    one event column y; c is a number, to which the sine of the hour of a timestamp is added; region a text that
        may be null and has no say
plane   two event columns, summarized by draws, whose seeds are the rows'
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import maf_serving as ms
from export.contract import CONTRACT_PATH, ConditionColumn, TrainingSummary
from export.errors import ExportWarning
from export.saved_model import functions_in_process
from export.serving_module import trace, write_saved_model
from export.signatures import Request
from export.source import TrainedModel
from export.verification.replay import answer_object, answer_session, array_key
from maf_serving.row_seeds import draw_seeds, row_keys
from maf_serving.training_profile import TrainingProfile
from serving_config import Client, UsageError
from serving_config.client.options import parse_call
from serving_config.client.table_call import call_table
from serving_config.local_server.model_config import ModelConfig
from tests.export.test_answers import normal
from tests.maf_serving.test_condition_range import category, number
from tests.serving_config.local_server.support import running
from tests.serving_config.test_guide import commands

COLUMNS = (
    ConditionColumn(name="c"),
    ConditionColumn(name="region", kind="string", vocabulary=("north",), nullable=True),
    ConditionColumn(name="when", kind="timestamp", parts=("hour", "trend"), offset=1_709_164_800.0, nullable=True),
)
C = np.array([-2.0, 0.0, 0.5, 3.0])
REGION = ["north", None, "elsewhere", "north"]
WHEN = np.array(["2024-02-29T06", "1969-12-31T12", "NaT", "2024-03-01T18"], "datetime64[us]")
SECONDS = [1_709_186_400.0, -43_200.0, math.nan, 1_709_316_000.0]
ENCODED = np.float32(
    [
        [-2, 1, 0, 0, 1, 0, 0.25, 0],
        [0, 0, 0, 1, 0, -1, -19_782.5, 0],
        [0.5, 0, 1, 0, 0, 0, 0, 1],
        [3, 1, 0, 0, -1, 0, 1.75, 0],
    ]
)
MEAN = C + ENCODED[:, 4]
TABLE = pa.table({"c": C, "region": REGION, "when": WHEN, "y": MEAN + 0.3, "y2": MEAN - 0.3})
LEVELS = [0.05, 0.9]
OFFSETS = 0.3 * np.array([-1.644854, 1.281552])
SEED = 7


def shift(x, conditional_input):
    """x = c + sin(hour) + 0.3 z."""
    mean = conditional_input[:, :1] + conditional_input[:, 4:5]
    return mean + tf.zeros_like(x), tf.fill(tf.shape(x), np.float32(math.log(0.3)))


def profile_of(event):
    """Of training that saw c from -2 to 1, a region that is null and none that is unknown, and two days."""
    region = category("region", "string", ("north",), nulls=3, others=0.0)
    when = dataclasses.replace(number("when", SECONDS[0], SECONDS[3], nulls=3), kind="timestamp")
    numbers = tuple(number(name, -9.0, 9.0) for name in event)
    return TrainingProfile(event=numbers, condition=(number("c", -2.0, 1.0), region, when))


def save(base, size):
    """An export without what an export checks."""
    tfb, tfd = tfp.bijectors, tfp.distributions
    flow = tfb.Chain([tfb.MaskedAutoregressiveFlow(shift, name="maf")])
    model = TrainedModel(
        distribution=tfd.TransformedDistribution(normal(size), flow),
        event_columns=("y", "y2")[:size],
        condition_columns=COLUMNS,
        training=TrainingSummary(10, 1, 1, 1, validation_nll=1.0, profile=profile_of(("y", "y2")[:size])),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExportWarning)  # the layer has no network: it runs as TFP's graph
        made = functions_in_process(model)
    write_saved_model(trace(made.functions, made.contract.signatures), base / "1", tables=made.functions.tables)
    (base / "1" / CONTRACT_PATH).parent.mkdir(exist_ok=True)
    (base / "1" / CONTRACT_PATH).write_text(made.contract.to_json())
    return base


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"line": save(root / "line", 1), "plane": save(root / "plane", 2)}


@pytest.fixture(scope="module")
def server(models):
    with running(*(ModelConfig(name=name, base_path=str(base)) for name, base in models.items())) as run:
        yield run


def addresses(server):
    return [{"rest_url": server.rest}, {"grpc_target": f"127.0.0.1:{server.server.port}"}]


def post(server, name, body):
    answer = server.post(f"/v1/models/{name}:predict", body)
    assert answer.status == 200, answer
    return answer.json


def by_command(operation, model, address, path, *more):
    ((flag, value),) = address.items()
    output = path.with_name("answers.parquet")
    flags = [operation, f"--{flag}", value, "--model_name", model.name, "--model", model, "--input", path]
    call_table(parse_call([*map(str, flags), "--output", str(output), "--overwrite", *more]))
    return pq.read_table(output)


@pytest.fixture
def path(tmp_path):
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def as_matrix(table, names):
    return np.stack([np.asarray(table.column(name)) for name in names], axis=1)


def test_a_quantile_is_the_same_at_every_door(models, server, path):
    line = models["line"]
    in_python = as_matrix(ms.load(line).quantile(TABLE, LEVELS), ["y_q05", "y_q90"])
    np.testing.assert_allclose(in_python, MEAN[:, None] + OFFSETS, atol=1e-4)
    probability = np.full(4, 0.9, np.float32)
    request = Request("q", "quantile", {"probability": probability, "conditional_input": ENCODED})
    answers = {
        "SavedModel": next(iter(answer_object(str(line / "1"), [request]).values()))[:, 0],
        "session": next(iter(answer_session(str(line / "1"), [request]).values()))[:, 0],
    }
    instances = [{"probability": 0.9, "conditional_input": row} for row in ENCODED.tolist()]
    told = post(server, "line", {"signature_name": "quantile", "instances": instances})
    answers["REST"] = np.array(told["predictions"])[:, 0]
    rows = zip(C, REGION, SECONDS, strict=True)
    named = [{"c": c, "region": region or "<null>", "when": t, "probability": 0.9} for c, region, t in rows]
    told = post(server, "line", {"signature_name": "quantile_columns", "instances": named})
    answers["REST by names"] = np.array(told["predictions"])
    for address in addresses(server):
        with Client("line", **address, rows_per_request=3) as client:
            for when in (WHEN, SECONDS, ["2024-02-29T07:00+01:00", "1969-12-31 12:00", None, "2024-03-01T18:00Z"]):
                raw = {"c": C, "region": REGION, "when": when}
                encoded = client.encode_condition(raw, condition_columns=COLUMNS)
                np.testing.assert_allclose(encoded, ENCODED, atol=1e-6)
            answers[f"client {address}"] = client.quantile(0.9, encoded)
            np.testing.assert_allclose(client.quantile(LEVELS, encoded), in_python, atol=1e-5)
        table = by_command("quantile", line, address, path, "--levels", "0.05,0.9")
        assert table.column_names == ["row", "y_q05", "y_q90"]
        answers[f"command {address}"] = as_matrix(table, ["y_q90"])[:, 0]
    for door, quantiles in answers.items():
        np.testing.assert_allclose(quantiles, in_python[:, 1], atol=1e-5, err_msg=door)
        np.testing.assert_allclose(quantiles, MEAN + 0.3845, atol=0.02, err_msg=door)


@pytest.mark.parametrize("name", ["line", "plane"])
def test_a_summary_is_the_same_at_every_door(models, server, path, name):
    model = ms.load(models[name])
    in_python = model.summarize(TABLE, seed=SEED)
    expected = as_matrix(in_python, in_python.column_names)
    size = len(model.event_columns)
    for column, place in (("y_mean", 0.0), ("y_stddev", None), ("y_q95", 0.3 * 1.644854)):
        values = np.asarray(in_python.column(column))
        np.testing.assert_allclose(values, 0.3 if place is None else MEAN + place, atol=0.03)
    inputs = {"seed": draw_seeds(row_keys(SEED, np.arange(4)), np.zeros(4, np.int64)), "conditional_input": ENCODED}
    for loader, answer in (("object", answer_object), ("session", answer_session)):
        found = answer(str(models[name] / "1"), [Request("s", "summarize", inputs)])
        outputs = {name: found[array_key(loader, "s", name)] for name in ("mean", "stddev", "quantiles")}
        np.testing.assert_allclose(flat(outputs, size), expected, atol=1e-5)
    body = {key: value.tolist() for key, value in inputs.items()}
    told = post(server, name, {"signature_name": "summarize", "inputs": body})["outputs"]
    np.testing.assert_allclose(flat(told, size), expected, atol=1e-5)
    regions = [region or "<null>" for region in REGION]
    by_name = {"c": C.tolist(), "region": regions, "when": SECONDS, "seed": body["seed"]}
    told = post(server, name, {"signature_name": "summarize_columns", "inputs": by_name})["outputs"]
    np.testing.assert_allclose(flat(told, size), expected, atol=1e-5)
    for address in addresses(server):
        with Client(name, **address, rows_per_request=3) as client:
            np.testing.assert_allclose(flat(client.summarize(ENCODED, seed=SEED), size), expected, atol=1e-5)
        table = by_command("summarize", models[name], address, path, "--seed", str(SEED))
        assert table.column_names == ["row", *in_python.column_names]
        np.testing.assert_allclose(as_matrix(table, in_python.column_names), expected, atol=1e-5)
        unseeded = by_command("summarize", models[name], address, path)
        zero = model.summarize(TABLE)
        np.testing.assert_allclose(
            as_matrix(unseeded, zero.column_names), as_matrix(zero, zero.column_names), atol=1e-5
        )


def flat(outputs, size):
    """As columns of a table: all means, all deviations, the quantiles of each event column."""
    mean, stddev, quantiles = (np.asarray(outputs[name]) for name in ("mean", "stddev", "quantiles"))
    assert mean.shape == (4, size)
    return np.concatenate([mean, stddev, quantiles.reshape(4, -1)], axis=1)


@pytest.mark.parametrize("name", ["line", "plane"])
def test_probabilities_are_the_same_at_every_door(models, server, path, name):
    model = ms.load(models[name])
    size = len(model.event_columns)
    names = ["cdf"] if size == 1 else ["cdf_y", "cdf_y2"]
    share = 0.5 * math.erfc(-1 / math.sqrt(2))
    x = np.stack([MEAN + 0.3, MEAN - 0.3], axis=1)[:, :size]
    found = model.cdf(TABLE)
    in_python = np.asarray(found)[:, None] if size == 1 else as_matrix(found, names)
    np.testing.assert_allclose(in_python, np.tile([share, 1 - share][:size], (4, 1)), atol=1e-5)
    for address in addresses(server):
        with Client(name, **address) as client:
            np.testing.assert_allclose(client.cdf(x, ENCODED).reshape(4, size), in_python, atol=1e-5)
        table = by_command("cdf", models[name], address, path)
        assert table.column_names == ["row", *names]
        np.testing.assert_allclose(as_matrix(table, names), in_python, atol=1e-5)


@pytest.mark.parametrize("name", ["line", "plane"])
@pytest.mark.parametrize(
    "more",
    [
        ("log_prob",),
        ("sample", "--num_samples", "3", "--seed", "7"),
        ("summarize", "--seed", "7"),
        ("quantile", "--levels", "0.05,0.9"),
        ("cdf",),
    ],
    ids=lambda more: more[0],
)
def test_a_server_tells_the_columns_of_its_model(models, server, path, name, more, monkeypatch, capsys):
    monkeypatch.chdir(path.parent)  # where there is no models/line
    for address in addresses(server):
        ((flag, value),) = address.items()
        told = [f"--{flag}", value, "--model_name", name, "--input", str(path), "--rows_per_request", "3"]
        asked = [more[0], *told, "--output", "told.parquet", "--overwrite", *more[1:]]
        if more[0] == "summarize" or (name == "plane" and more[0] in {"quantile", "cdf"}):
            which = (
                "summarize needs the levels" if more[0] == "summarize" else "does not take .* by the names of columns"
            )
            with pytest.raises(UsageError, match=f"{which}.*; say --model DIR"):
                call_table(parse_call(asked))
            continue
        call_table(parse_call(asked))
        event = {"line": "y", "plane": "y, y2"}[name]
        said = f"columns {event} | c, region, when: as the server has them, of version 1 of model {name}\n"
        assert capsys.readouterr().err == said
        expected = by_command(more[0], models[name], address, path, *more[1:])
        answers = pq.read_table("told.parquet")
        assert answers.column_names == expected.column_names
        names = answers.column_names
        np.testing.assert_allclose(as_matrix(answers, names), as_matrix(expected, names), rtol=1e-5, atol=1e-5)


def test_a_server_tells_columns_of_other_names_and_rejects_what_the_model_cannot_take(models, server, tmp_path):
    names = {
        "when": WHEN,
        "c": [-1.0, None, 1.0, np.inf],
        "where": ["north", None, None, None],
        "Y": ["0.3", "1", "cheap", "1"],
    }
    pq.write_table(pa.table(names), tmp_path / "rows.parquet")
    output = tmp_path / "out.parquet"
    flags = ["--rest_url", server.rest, "--model_name", "line", "--input", str(tmp_path / "rows.parquet")]
    more = ["--rename", "region=where,y=Y", "--output", str(output)]
    result = call_table(parse_call(["log_prob", *flags, *more]))
    assert (result.rows, result.rejected) == (4, 3)
    assert pq.read_table(output).column("row").to_pylist() == [0]
    rejected = pq.read_table(tmp_path / "out.rejected.parquet")
    reasons = dict(zip(rejected.column("row").to_pylist(), rejected.column("reason").to_pylist(), strict=True))
    assert reasons == {1: "log_prob: NaN", 2: "Y: not a number: 'cheap'", 3: "c: infinite"}
    with pytest.raises(UsageError, match="--rename has 'z', which is no column of the model; it has: "):
        call_table(parse_call(["log_prob", *flags, "--rename", "z=c"]))


def test_the_commands_of_the_guide_answer(models, server, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    found = [command for command in commands("maf-serving client") if "--model_name sales" in command]
    for command in found:
        words = command.replace("http://localhost:8501", server.rest).replace("models/sales", str(models["line"]))
        call_table(parse_call(shlex.split(words.replace("--model_name sales", "--model_name line"))[2:]))
    tables = [pq.read_table(f"{name}.parquet").column_names[1:] for name in ("summaries", "intervals", "shares")]
    assert tables == [list(ms.load(models["line"]).summarize(TABLE).column_names), ["y_q05", "y_q95"], ["cdf"]]


def test_rows_that_cannot_be_answered_are_rejected_and_move_no_seed(models, server, tmp_path):
    """Row 1 has no c: what is left has the answers of its own row numbers, as in Python."""
    table = TABLE.set_column(0, "c", pa.array([-2.0, None, 0.5, 3.0]))
    pq.write_table(table, tmp_path / "rows.parquet")
    model = ms.load(models["plane"])
    in_python = model.summarize(table, seed=SEED)
    answered = by_command(
        "summarize", models["plane"], addresses(server)[1], tmp_path / "rows.parquet", "--seed", str(SEED)
    )
    assert answered.column("row").to_pylist() == [0, 2, 3]
    expected = as_matrix(in_python.take([0, 2, 3]), in_python.column_names)
    np.testing.assert_allclose(as_matrix(answered, in_python.column_names), expected, atol=1e-5)
    assert pq.read_table(tmp_path / "answers.rejected.parquet").column("reason").to_pylist() == ["c: null"]


def test_what_a_model_has_not_is_said(models, server, path):
    with pytest.raises(UsageError, match="it is of one event column"):
        by_command("quantile", models["plane"], addresses(server)[0], path, "--levels", "0.5")
    flags = ["summarize", "--rest_url", addresses(server)[0]["rest_url"], "--model_name", "line", "--event", "y"]
    with pytest.raises(UsageError, match="levels of the model's quantiles, which a server does not know"):
        call_table(parse_call([*flags, "--condition", "c", "--input", str(path)]))


@pytest.mark.parametrize("name", ["line", "plane"])
def test_a_job_and_a_batch_function_say_what_the_model_says(models, name, path, tmp_path):
    model = ms.load(models[name])
    in_python = model.summarize(TABLE, seed=SEED)
    ms.summarize(models[name], path, output=tmp_path / "out", seed=SEED)
    job = pq.ParquetDataset(sorted((tmp_path / "out").glob("summaries-*"))).read().sort_by("row")
    keyed = TABLE.append_column("key", pa.array(["d", "c", "b", "a"]))
    ms.summarize(models[name], keyed, output=tmp_path / "keyed", seed=SEED, key_column="key")
    by_key = pq.ParquetDataset(sorted((tmp_path / "keyed").glob("summaries-*"))).read().sort_by("row")
    fn = model.batch_function("summarize", seed=SEED, key_column="key")
    for column in in_python.column_names:
        np.testing.assert_allclose(job[column], in_python[column], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(fn(keyed)[column], by_key[column], rtol=1e-5, atol=1e-5)
    assert (by_key["y_mean"] == job["y_mean"]) == (name == "line")


def test_what_is_out_of_range_is_the_same_at_every_door(models, server, path):
    line, names = models["line"], ["", "when", "region", "c"]
    assert ms.load(line).out_of_range(TABLE).to_pylist() == names
    expected = [not name for name in names]
    spelled = [region or "<null>" for region in REGION]
    tensors = {"c": C, "region": np.array([each.encode() for each in spelled], object), "when": np.array(SECONDS)}
    requests = [
        Request("vectors", "in_range", {"conditional_input": ENCODED}),
        Request("columns", "in_range_columns", tensors),
    ]
    for answer in (answer_object, answer_session):
        for door, told in answer(str(line / "1"), requests).items():
            assert told.tolist() == expected, door
    instances = [{"conditional_input": row} for row in ENCODED.tolist()]
    told = post(server, "line", {"signature_name": "in_range", "instances": instances})
    assert told["predictions"] == expected
    named = [{"c": c, "region": r, "when": t} for c, r, t in zip(C.tolist(), spelled, SECONDS, strict=True)]
    told = post(server, "line", {"signature_name": "in_range_columns", "instances": named})
    assert told["predictions"] == expected
    for address in addresses(server):
        with Client("line", **address, rows_per_request=3) as client:
            assert client.predict("in_range", {"conditional_input": ENCODED})["in_range"].tolist() == expected
        table = by_command("log_prob", line, address, path, "--out_of_range")
        assert table.column("out_of_range").to_pylist() == names
    summary = ms.score(line, TABLE, output=path.with_name("scored"), on_out_of_range="name")
    assert summary.out_of_range == {"c": 1, "region": 1, "when": 1}
