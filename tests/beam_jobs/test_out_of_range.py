"""Rows whose condition is nothing like what training saw: counted, named in a column, or rejected."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from beam_jobs import SampleOptions, ScoreOptions, UsageError, sample_table, score_table
from beam_jobs.options.flags import parse_score_flags
from export import TrainingSummary, read_contract
from export.contract import CONTRACT_PATH
from maf_serving.training_profile import TrainingProfile
from serving_config import UsageError as CallUsageError
from serving_config.client.options import parse_call
from serving_config.client.table_call import call_table
from serving_config.local_server.model_config import ModelConfig
from tests.beam_jobs.test_raw_conditions import table
from tests.maf_serving.test_condition_range import category, number
from tests.serving_config.local_server.support import running
from tests.shop_model import BIG_STORE, save_shop_model

ROWS = [
    (0.5, -1.0, "north", 1.5, 7, 20.0),
    (0.5, -1.0, None, 1.5, 7, 20.0),
    (0.5, -1.0, "west", 9.0, 7, None),
    (0.5, -1.0, "süd", 1.5, 8, 99.0),
    (0.5, -1.0, "süd", None, 8, 20.0),
] * 30
NAMES = ["", "region", "region,price,temperature", "temperature"] * 30
COUNTS = {"region": 60, "price": 30, "store": 0, "temperature": 60}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The model with a profile of its training, and the same without."""
    known = save_shop_model(tmp_path_factory.mktemp("models") / "shop")
    unknown = known.with_name("nobody")
    shutil.copytree(known, unknown)
    profile = TrainingProfile(
        event=(number("x0", -9.0, 9.0), number("x1", -9.0, 9.0)),
        condition=(
            category("region", "string", ("north", "süd")),
            number("price", 1.5, 1.5),
            category("store", "integer", (7, -12, BIG_STORE), others=0.01),
            number("temperature", -10.0, 40.0),
        ),
    )
    contract = read_contract(known)
    training = TrainingSummary(100, 10, 10, 7, validation_nll=1.5, profile=profile)
    (known / "1" / CONTRACT_PATH).write_text(dataclasses.replace(contract, training=training).to_json())
    return {"known": known, "unknown": unknown}


@pytest.fixture
def rows(tmp_path):
    pq.write_table(table(ROWS, region=pa.string()), tmp_path / "rows.parquet", row_group_size=50)
    return tmp_path / "rows.parquet"


def read(directory, prefix):
    return pq.ParquetDataset(sorted(directory.glob(f"{prefix}-*.parquet"))).read().sort_by("row")


def test_they_are_counted_and_scored_unless_more_is_asked_for(shop, rows, tmp_path):
    common = {"batch_size": 32, "input_patterns": (str(rows),)}
    summary = score_table(ScoreOptions(model=str(shop["known"]), output=str(tmp_path / "counted"), **common))
    assert (summary.rows_scored, summary.rows_rejected, summary.out_of_range) == (120, 30, COUNTS)
    assert "out of range           150  values unlike all that training saw, scored all the same: region 60, pr" in (
        summary.to_text("out")
    )
    assert "out_of_range" not in read(tmp_path / "counted", "scored").column_names
    other = score_table(ScoreOptions(model=str(shop["unknown"]), output=str(tmp_path / "none"), **common))
    assert other.out_of_range is None
    assert "out of range" not in other.to_text("out")
    scored = [read(tmp_path / name, "scored")["log_prob"] for name in ("counted", "none")]
    assert scored[0].equals(scored[1])


def values_of(directory, output_format):
    if output_format == "parquet":
        return read(directory, "scored")["out_of_range"].to_pylist()
    (path,) = directory.glob(f"scored-*.{output_format}")
    if output_format == "csv":
        found = list(csv.DictReader(path.read_text().splitlines()))
    elif output_format == "jsonl":
        found = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        import fastavro  # noqa: PLC0415

        with path.open("rb") as stream:
            found = list(fastavro.reader(stream))
    return [row["out_of_range"] for row in sorted(found, key=lambda row: int(row["row"]))]


@pytest.mark.parametrize("output_format", ["parquet", "csv", "jsonl", "avro"])
def test_a_column_names_the_columns(output_format, shop, rows, tmp_path):
    options = ScoreOptions(
        model=str(shop["known"]),
        input_patterns=(str(rows),),
        output=str(tmp_path / "out"),
        on_out_of_range="name",
        keep=("region",),
        output_format=output_format,
        batch_size=32,
        num_shards=1,
    )
    summary = score_table(options)
    assert summary.out_of_range == COUNTS
    assert values_of(tmp_path / "out", output_format) == NAMES


def test_draws_carry_the_names_too(shop, rows, tmp_path):
    options = SampleOptions(
        model=str(shop["known"]),
        input_patterns=(str(rows),),
        output=str(tmp_path / "out"),
        on_out_of_range="name",
        num_samples=3,
        seed=1,
        batch_size=32,
    )
    assert sample_table(options).out_of_range == COUNTS
    drawn = read(tmp_path / "out", "samples")
    assert drawn["out_of_range"].to_pylist() == [name for name in NAMES for _ in range(3)]


def test_they_are_rejected_with_the_first_column_that_is_outside(shop, rows, tmp_path):
    options = ScoreOptions(
        model=str(shop["known"]),
        input_patterns=(str(rows),),
        output=str(tmp_path / "out"),
        on_out_of_range="reject",
        batch_size=32,
    )
    summary = score_table(options)
    assert (summary.rows_scored, summary.rows_rejected, summary.out_of_range) == (30, 120, COUNTS)
    assert summary.rejected_by_kind == {"null": 30, "out of range": 90}
    reasons = read(tmp_path / "out", "_rejected")["reason"].to_pylist()
    assert reasons[:4] == [
        "region: out of range: null",
        "region: out of range: west",
        "temperature: out of range: 99.0",
        "price: null",
    ]


def test_python_and_the_client_say_the_same(shop, rows, tmp_path):
    expected = [name for start in range(0, 120, 4) for name in (*NAMES[start : start + 4], None)]
    model = ms.load(shop["known"])
    assert model.out_of_range(table(ROWS, region=pa.string())).to_pylist() == expected
    summary = ms.score(shop["known"], table(ROWS, region=pa.string()), output=tmp_path / "o", on_out_of_range="name")
    assert summary.out_of_range == COUNTS
    with pytest.raises(ms.errors.UsageError, match="knows no ranges of its condition"):
        ms.load(shop["unknown"]).out_of_range(table(ROWS, region=pa.string()))
    with running(ModelConfig(name="shop", base_path=str(shop["known"]))) as run:
        flags = ["--rest_url", run.rest, "--model_name", "shop", "--input", str(rows), "--overwrite"]
        flags += ["--output", str(tmp_path / "a.parquet")]
        of = ["--model", str(shop["known"])]
        result = call_table(parse_call(["log_prob", *flags, *of, "--out_of_range", "--keep", "region"]))
        assert pq.read_table(tmp_path / "a.parquet")["out_of_range"].to_pylist() == NAMES
        assert result.out_of_range == {name: count for name, count in COUNTS.items() if count}
        result = call_table(parse_call(["log_prob", *flags, *of, "--reject_out_of_range"]))
        assert result.out_of_range == {name: count for name, count in COUNTS.items() if count}
        assert result.kinds == {"null": 30, "out of range": 90}
        drawn = ["sample", *flags, *of, "--out_of_range", "--num_samples", "2", "--seed", "1"]
        call_table(parse_call(drawn))
        assert pq.read_table(tmp_path / "a.parquet")["out_of_range"].to_pylist() == [n for n in NAMES for _ in "ab"]
        with pytest.raises(CallUsageError, match="knows no ranges of its condition"):
            call_table(parse_call(["log_prob", *flags, "--model", str(shop["unknown"]), "--out_of_range"]))
        named = ["--event", "x0,x1", "--condition", "price"]
        with pytest.raises(CallUsageError, match="need the ranges in the model's contract"):
            call_table(parse_call(["log_prob", *flags, *named, "--out_of_range"]))


def test_what_does_not_fit_is_refused_before_anything_runs(shop, rows, tmp_path):
    options = {"input_patterns": (str(rows),), "output": str(tmp_path / "out")}
    with pytest.raises(UsageError, match=r"--out_of_range: version 1 of .*nobody knows no ranges"):
        score_table(ScoreOptions(model=str(shop["unknown"]), on_out_of_range="name", **options))
    with pytest.raises(UsageError, match="not allowed with argument"):
        parse_score_flags(["--model", "m", "--input", "a", "--output", "o", "--out_of_range", "--reject_out_of_range"])
    pq.write_table(table(ROWS).append_column("out_of_range", pa.array(["x"] * len(ROWS))), rows)
    with pytest.raises(UsageError, match="out_of_range"):
        score_table(ScoreOptions(model=str(shop["known"]), on_out_of_range="name", keep=("out_of_range",), **options))
    assert not (tmp_path / "out").exists()
