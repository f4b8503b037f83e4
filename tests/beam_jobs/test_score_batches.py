"""The scoring as a transform in pipelines of a user's own."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from beam_jobs import JobError, ScoreBatches, ScoredBatches, UsageError
from beam_jobs.options.endpoint_options import EndpointOptions
from tests.beam_jobs.conftest import NAN_AT

PAGE = Path(__file__).parents[2] / "docs" / "batch_jobs.md"


@pytest.fixture
def table(make_columns):
    columns = {name: pa.array(values) for name, values in make_columns(1_000, 5).items()}
    columns["id"] = pa.array(range(1_000))
    columns["x0"] = pa.array([None, NAN_AT, *columns["x0"].to_pylist()[2:]])
    columns["c0"] = pa.array([*columns["c0"].to_pylist()[:-1], float("nan")])
    return pa.table(columns)


def run(tmp_path, tables, score, *more):
    """The scored and the rejected rows."""
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        result = pipeline | beam.Create(tables, reshuffle=False)
        for transform in (*more, score):
            result |= transform
        assert isinstance(result, ScoredBatches)
        for name, batches in zip(("scored", "rejected"), result, strict=True):
            path = str(tmp_path / name)
            batches | f"Write{name}" >> beam.Map(lambda each, path=path: pq.write_table(each, f"{path}-{uuid.uuid4()}"))
    return [read(tmp_path.glob(f"{name}-*")) for name in ("scored", "rejected")]


def read(files):
    tables = [pq.read_table(file) for file in files]
    return pa.concat_tables(tables).sort_by("id") if tables else pa.table({})


def test_every_row_comes_out_once_with_its_columns(table, model_base, density, tmp_path):
    score = ScoreBatches(str(model_base), batch_size=130)
    scored, rejected = run(tmp_path, [table.slice(0, 400), *table.slice(400).to_batches()], score)
    assert scored.schema == score.scored_schema(table.schema)
    assert rejected.schema == score.rejected_schema(table.schema)
    assert scored.schema.names == ["x0", "x1", "c0", "id", "log_prob"]
    assert scored["id"].to_pylist() == list(range(2, 999))
    assert scored.drop_columns("log_prob").equals(table.slice(2, 997))
    expected = density(*(table[name].to_numpy()[2:999] for name in ("x0", "x1", "c0")))
    np.testing.assert_allclose(scored["log_prob"].to_numpy(), expected, rtol=1e-4, atol=1e-4)
    assert rejected.select(["id", "reason"]).to_pylist() == [
        {"id": 0, "reason": "x0: null"},
        {"id": 1, "reason": "log_prob: NaN"},
        {"id": 999, "reason": "c0: NaN"},
    ]
    assert rejected["x1"].to_pylist() == table["x1"].take([0, 1, 999]).to_pylist()


def test_base_space_values_other_names_and_windows(table, model_base, tmp_path):
    names = {"x0": "price", "x1": "volume", "c0": "season", "id": "id"}
    renamed = table.slice(2, 500).rename_columns(names)
    score = ScoreBatches(
        str(model_base),
        signature_name="inverse",
        event_columns=["price", "volume"],
        conditional_columns=["season"],
    )
    stamp = beam.Map(lambda each: TimestampedValue(each, 1_000))
    scored, _ = run(tmp_path, [renamed], score, stamp, beam.WindowInto(FixedWindows(60)))
    assert scored.schema.names[-3:] == ["log_prob", "z_x0", "z_x1"]
    z = scored["price"].to_numpy() - scored["season"].to_numpy()
    np.testing.assert_allclose(scored["z_x0"].to_numpy(), z, rtol=1e-4, atol=1e-4)


def test_a_model_server_scores_too(table, model_base, scripted, tmp_path):
    _, target = scripted()
    endpoint = EndpointOptions(target=target, model_name="any")
    scored, rejected = run(tmp_path, [table], ScoreBatches(str(model_base), endpoint=endpoint))
    assert scored.num_rows + rejected.num_rows == 1_000


def test_what_does_not_serve_is_refused(table, model_base, tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        ScoreBatches(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="batch_size is 0; expected at least 1"):
        ScoreBatches(str(model_base), batch_size=0)
    score = ScoreBatches(str(model_base))
    lacking = table.drop_columns("c0")
    with pytest.raises(UsageError, match=r"input column\(s\) c0 not in the batch; it has: x0, x1, id"):
        score.scored_schema(lacking.schema)
    with pytest.raises(JobError, match=r"input column\(s\) c0 not in the batch; it has: x0, x1, id"):
        run(tmp_path, [lacking], score)
    with pytest.raises(JobError, match=r"the batch has column\(s\) log_prob, which scoring adds"):
        run(tmp_path, [table.append_column("log_prob", table["x0"])], score)
    with pytest.raises(JobError, match="ScoreBatches got a dict; expected tables or record batches of pyarrow"):
        run(tmp_path, [{"x0": 1.0}], score)


def test_the_example_of_the_page_runs(table, model_base, tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/sales").symlink_to(model_base)
    pq.write_table(table, "new.parquet")
    example = example.replace("beam.Pipeline()", 'beam.Pipeline(runner="FnApiRunner")')
    exec(compile(example, str(PAGE), "exec"), {})  # noqa: S102  # our own page
    scored, rejected = (pq.ParquetDataset(sorted(Path("out").glob(f"{name}*"))).read() for name in ("sc", "re"))
    assert (scored.num_rows, rejected.num_rows) == (997, 3)
