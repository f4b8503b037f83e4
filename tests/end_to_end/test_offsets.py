"""Seconds since 1970 as a condition of a model in float32, and timestamps as its hours and its trend.

All doors take them raw, and give the same answers.
"""

from __future__ import annotations

import datetime as dt
import json

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from export.verification import verification
from export.verification.replay import Replies, answer_object
from maf_serving.saved_model import LoadedModel
from serving_config.client.request_inputs import raw_condition_inputs
from tests.export.conftest import replay_by

START, SECONDS, NOISE = 1.7e9, 1_800, 0.1


def rows(count, seed):
    """The mean moves by a unit in 100 seconds: 128, which float32 has there for a step, are 13 deviations.

    And it goes up and down with the hour of `sold`, of which some are null and mean midnight.
    """
    rng = np.random.default_rng(seed)
    when = START + rng.uniform(0, SECONDS, count)
    sold = rng.integers(0, 3 * 365 * 24 * 60, count) * 60
    null = rng.random(count) < 0.1
    hour = np.sin(2 * np.pi * sold / 86_400) * ~null
    level = (when - START) / 100 + hour + NOISE * rng.normal(size=count)
    column = pa.array(np.datetime64("2022-01-01", "us") + (sold * 10**6).astype("timedelta64[us]"), mask=null)
    return pa.table({"level": level, "when": when, "site": rng.choice(["a", "b"], count), "sold": column})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    options = {
        "date": {"sold": ["hour", "weekday", "month", "trend"]},
        "max_epochs": 3,
        "num_layers": 1,
        "transform": "affine",
        "jit_compile": "off",
    }
    directory = tmp_path_factory.mktemp("offsets") / "run"
    condition = ["when", "site", "sold"]
    return ms.train(rows(4_000, 0), event=["level"], condition=condition, run=directory, announce=list, **options)


@pytest.fixture(scope="module")
def version(run, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "LOADERS", ("object",))
        replay_by(patch, lambda path, requests: Replies(answer_object(str(path), requests)))
        return ms.export(run, tmp_path_factory.mktemp("offsets") / "levels")


@pytest.fixture(scope="module")
def expected(run):
    return run.log_prob(rows(200, 1)).to_numpy()


def test_a_density_that_depends_on_seconds_is_learnt(run, expected):
    entropy = np.log(NOISE * np.sqrt(2 * np.pi * np.e))
    assert -expected.mean() == pytest.approx(entropy, abs=0.25)
    moved = pa.table({"level": [9.0] * 3, "when": [START + 900, START + 910, START + 930], "site": ["a"] * 3})
    moved = moved.append_column("sold", pa.array(["2023-05-01"] * 3))
    now, later, latest = run.log_prob(moved).to_pylist()
    assert now - later == pytest.approx(0.5, abs=0.3)
    assert now - latest == pytest.approx(4.5, abs=2)


def test_the_contract_says_the_offset(version):
    contract = ms.read_contract(version)
    when, site, sold = contract.condition_columns
    assert abs(when.offset - START - SECONDS / 2) < SECONDS / 4
    assert site.offset == 0
    assert contract.conditional_columns[0] == f"when - {when.offset:.0f}"
    assert sold.parts == ("hour", "weekday", "month", "trend")
    assert sold.nullable
    assert contract.conditional_columns[-8:-6] == ("sold hour sin", "sold hour cos")
    assert contract.signature("encode_condition").inputs["numbers"].dtype == "float64"
    assert contract.signature("log_prob").inputs["conditional_input"].dtype == "float32"


def test_an_exported_model_and_batch_jobs_answer_alike(version, expected, tmp_path):
    np.testing.assert_allclose(ms.load(version).log_prob(rows(200, 1)).to_numpy(), expected, rtol=1e-4, atol=1e-4)
    pq.write_table(rows(200, 1), tmp_path / "rows.parquet")
    ms.score(version, tmp_path / "rows.parquet", output=tmp_path / "out")
    scores = pq.read_table(tmp_path / "out").sort_by("row").column("log_prob").to_numpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_signatures_of_raw_columns_answer_alike(version, expected):
    model, table = LoadedModel.load(version), rows(200, 1)
    columns = {name: table.column(name).to_numpy() for name in ("level", "when")}
    site = np.array([each.encode() for each in table.column("site").to_pylist()], object)
    micros = table.column("sold").cast(pa.int64()).to_numpy(zero_copy_only=False)
    by_column = model.run("log_prob_columns", {**columns, "site": site, "sold": micros / 1e6})["log_prob"]
    np.testing.assert_allclose(by_column, expected, rtol=1e-4, atol=1e-4)
    # the client's way: `encode_condition` first
    raw = {"when": columns["when"], "site": table.column("site").to_pylist(), "sold": table.column("sold").to_pylist()}
    inputs = raw_condition_inputs(raw, ms.read_contract(version).condition_columns)
    encoded = model.run("encode_condition", dict(inputs))["conditional_input"]
    x = columns["level"][:, np.newaxis].astype(np.float32)
    vectors = model.run("log_prob", {"x": x, "conditional_input": encoded})["log_prob"]
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-4)


def test_files_of_any_format_hold_timestamps(version, expected, tmp_path):
    table = rows(200, 1)
    records = table.to_pylist()
    pa.csv.write_csv(table, tmp_path / "a.csv")
    lines = [json.dumps({**each, "sold": each["sold"] and f"{each['sold'].isoformat()}+00:00"}) for each in records]
    (tmp_path / "b.jsonl").write_text("\n".join(lines), encoding="utf-8")
    types = {"level": "double", "when": "double", "site": "string"}
    types["sold"] = ["null", {"type": "long", "logicalType": "timestamp-micros"}]
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    utc = [{**each, "sold": each["sold"] and each["sold"].replace(tzinfo=dt.timezone.utc)} for each in records]
    with (tmp_path / "c.avro").open("wb") as stream:
        fastavro.writer(stream, {"type": "record", "name": "row", "fields": fields}, utc)
    ms.score(version, [tmp_path / name for name in ("a.csv", "b.jsonl", "c.avro")], output=tmp_path / "out")
    scores = pq.read_table(tmp_path / "out").sort_by([("file", "ascending"), ("row", "ascending")])
    np.testing.assert_allclose(scores.column("log_prob").to_numpy(), np.tile(expected, 3), rtol=1e-4, atol=1e-3)


def test_what_is_no_timestamp_is_rejected_with_its_reason(version):
    table = {
        "level": [9.0] * 4,
        "when": [START] * 4,
        "site": ["a"] * 4,
        "sold": ["2023-05-01", "1.5.2023", None, "1e99"],
    }
    reasons = ms.load(version).check(table).to_pylist()
    assert reasons == [None, "sold: not a point in time: '1.5.2023'", None, "sold: not a point in time: '1e99'"]
