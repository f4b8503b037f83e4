"""The three jobs on an object store: a server of S3's protocol in a process of its own, through Beam's `s3://`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems

from beam_jobs import (
    EvaluateOptions,
    JobError,
    SampleOptions,
    ScoreOptions,
    UsageError,
    evaluate_table,
    sample_table,
    score_table,
)
from beam_jobs.runner.options import parse_beam_flags
from tests.waiting import until

boto3 = pytest.importorskip("boto3", reason="boto3 and moto are in the extra dev")
pytest.importorskip("moto", reason="boto3 and moto are in the extra dev")

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
ROWS = 2_000


class Bucket:
    """An empty bucket on the server, and how jobs get there."""

    def __init__(self, client, url: str, name: str) -> None:
        self.client, self.name = client, name
        self.flags = [f"--s3_endpoint_url={url}"]
        client.create_bucket(Bucket=name)

    def url(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, content: bytes) -> str:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)
        return self.url(key)

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def keys(self, prefix: str = "") -> list[str]:
        listed = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return sorted(each["Key"] for each in listed.get("Contents", []))

    def uploads(self) -> list[str]:
        listed = self.client.list_multipart_uploads(Bucket=self.name)
        return [each["Key"] for each in listed.get("Uploads", [])]

    def table(self, prefix: str) -> pa.Table:
        return pa.concat_tables([pq.read_table(io.BytesIO(self.read(key))) for key in self.keys(prefix)])

    def summary(self, output: str) -> dict:
        """What an output says of itself, after a look at whether it holds what it says."""
        summary = json.loads(self.read(f"{output}/_summary.json"))
        assert self.keys(f"{output}/") == sorted(
            f"{output}/{name}" for name in [*summary["output_files"], "_summary.json"]
        )
        return summary


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
    )
    until(lambda: answers(port), of=process)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)
    log.close()


@pytest.fixture
def bucket(server, monkeypatch, request):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    # Beam makes a session for every call, and each reads megabytes of descriptions of AWS.
    session = boto3.session.Session()
    client = session.client("s3", endpoint_url=server)
    monkeypatch.setattr(boto3.session, "Session", lambda: session)
    name = "-".join(["bucket", *(part for part in request.node.name.lower().split("_") if part.isalpha())])[:60]
    yield Bucket(client, server, name.rstrip("-"))
    client.close()


@pytest.fixture
def model(bucket, model_base):
    for path in model_base.rglob("*"):
        if path.is_file():
            bucket.put(f"models/{path.relative_to(model_base)}", path.read_bytes())
    bucket.put("models/2/saved_model.pb", b"an older version")
    return bucket.url("models")


@pytest.fixture
def columns(make_columns):
    columns = make_columns(ROWS, 5)
    columns["x0"][7] = np.nan
    return columns


def parquet(columns) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, row_group_size=300, write_page_checksum=True)
    return stream.getvalue()


def test_all_three_jobs_give_what_they_give_here(bucket, model, columns, model_base, write_parquet, tmp_path):
    name = write_parquet("a.parquet", columns, row_group_size=300)
    bucket.put("in/a.parquet", Path(name).read_bytes())
    options = parse_beam_flags(bucket.flags)
    here = {"model": str(model_base), "input_patterns": (name,)}
    there = {"model": model, "input_patterns": (bucket.url("in/*.parquet"),)}

    local = score_table(ScoreOptions(**here, output=str(tmp_path / "s")))
    remote = score_table(ScoreOptions(**there, output=bucket.url("out/s"), num_shards=3), options)
    assert (remote.rows_scored, remote.rows_rejected) == (local.rows_scored, local.rows_rejected) == (ROWS - 1, 1)
    assert remote.model_version == bucket.summary("out/s")["model_version"] == "3"
    scores = bucket.table("out/s/scored-").sort_by("row")
    expected = pq.ParquetDataset(sorted((tmp_path / "s").glob("scored-*"))).read().sort_by("row")
    assert scores["row"] == expected["row"]
    np.testing.assert_allclose(scores["log_prob"], expected["log_prob"], rtol=1e-5)
    assert len(bucket.keys("out/s/scored-")) == 3
    assert bucket.table("out/s/_rejected-").to_pylist() == [
        {"file": bucket.url("in/a.parquet"), "row": 7, "reason": "x0: NaN"}
    ]

    drawn = {"num_samples": 2, "seed": 3}
    sample_table(SampleOptions(**here, output=str(tmp_path / "d"), **drawn))
    one_file = {**there, "input_patterns": (bucket.url("in/a.parquet"),)}  # rows that a glob finds have other keys
    sample_table(SampleOptions(**one_file, output=bucket.url("out/d"), **drawn), options)
    bucket.summary("out/d")
    order = [("row", "ascending"), ("draw", "ascending")]
    draws = bucket.table("out/d/samples-").sort_by(order)
    expected = pq.ParquetDataset(sorted((tmp_path / "d").glob("samples-*"))).read().sort_by(order)
    np.testing.assert_allclose(draws["x0"], expected["x0"], rtol=1e-4, atol=1e-5)

    result = evaluate_table(EvaluateOptions(**there, output=bucket.url("out/e")), options)
    assert result.overall.mean_nll == pytest.approx(-local.mean_log_prob, rel=1e-5)
    (report,) = bucket.keys("out/e/report-")
    assert b"</html>" in bucket.read(report)
    bucket.summary("out/e")
    assert {key.split("/")[1] for key in bucket.keys("out")} == {"s", "d", "e"}


def test_an_output_is_refused_replaced_or_nobodys(bucket, model, columns):
    source = bucket.put("a.parquet", parquet(columns))
    options = parse_beam_flags(bucket.flags)

    def score(output, **values):
        return score_table(ScoreOptions(model=model, input_patterns=(source,), output=output, **values), options)

    output = bucket.url("out")
    score(output)
    first = bucket.keys("out/")
    with pytest.raises(UsageError, match=r"exists; .*--overwrite"):
        score(output)
    assert bucket.keys("out/") == first
    score(output, existing_output="replace")
    bucket.summary("out")
    assert set(bucket.keys("out/")) & set(first) == {"out/_summary.json"}
    assert bucket.keys("out.") == []
    for bad, message in (
        ("models", "no _summary.json, so it was not written by this command"),
        ("a*b", r"holds '\*'"),
    ):
        with pytest.raises(UsageError, match=message):
            score(bucket.url(bad))
    with pytest.raises(UsageError, match=r"^--output s3://nowhere-at-all/o cannot be written: .*NoSuchBucket"):
        score("s3://nowhere-at-all/o")
    with pytest.raises(UsageError, match=r"^--output gopher://a/b cannot be reached: Unable to get filesystem"):
        score("gopher://a/b")


def test_damaged_files_fail_the_job_and_leave_nothing_or_are_accounted_for(bucket, model, columns):
    content = bytearray(parquet(columns))
    content[len(content) // 2] ^= 0xFF
    bucket.put("in/bad.parquet", bytes(content))
    bucket.put("in/short.parquet", bytes(content)[:-50])
    bucket.put("in/good.parquet", parquet(columns))
    options = parse_beam_flags(bucket.flags)
    values = {"model": model, "input_patterns": (bucket.url("in/*"),), "output": bucket.url("out")}
    with pytest.raises(UsageError, match=r"s3://.*/in/short\.parquet cannot be read as Parquet"):
        score_table(ScoreOptions(**values), options)
    bad = {**values, "input_patterns": (bucket.url("in/bad.parquet"),)}
    with pytest.raises(JobError, match=r"s3://.*/in/bad\.parquet cannot be read from row \d+"):
        score_table(ScoreOptions(**bad), options)
    assert bucket.keys("out") == []
    summary = score_table(ScoreOptions(**values, on_bad_file="reject"), options)
    assert summary.rows_read == 2 * ROWS + 1
    table = bucket.table("out/scored-").select(["file", "row"]).to_pylist()
    table += bucket.table("out/_rejected-").select(["file", "row"]).to_pylist()
    keys = {(each["file"].rpartition("/")[2], each["row"]) for each in table}
    expected = {(name, row) for name in ("good.parquet", "bad.parquet") for row in range(ROWS)}
    assert keys == expected | {("short.parquet", 0)}
    assert len(table) == len(keys)
    few = {**values, "output": bucket.url("few")}
    with pytest.raises(JobError, match=r"--max_rejected allows 0\.00%; .* are in s3://.*/few\.rejected-"):
        score_table(ScoreOptions(**few, on_bad_file="reject", max_rejected=0), options)
    kept = {key.rpartition("/")[2].partition("-")[0] for key in bucket.keys("few")}
    assert kept == {"_rejected", "_summary.json"}


def test_large_objects_are_copied_in_parts(bucket):
    """The store copies 5 GB at once at most; Beam's client copies what is larger than 8 MB part by part."""
    bucket.put("large", b"x" * (9 << 20))
    FileSystems.set_options(parse_beam_flags(bucket.flags))
    FileSystems.copy([bucket.url("large")], [bucket.url("copy")])
    copied = bucket.client.head_object(Bucket=bucket.name, Key="copy")
    assert copied["ContentLength"] == 9 << 20
    assert copied["ETag"].endswith('-2"')


def test_a_model_that_changes_or_is_none_fails_the_job(bucket, model, columns, tmp_path, monkeypatch):
    from beam_jobs.model.saved_model import ModelLocation, find_model_location  # noqa: PLC0415

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = bucket.put("a.parquet", parquet(columns))
    options = parse_beam_flags(bucket.flags)
    values = {"input_patterns": (source,), "output": bucket.url("out")}
    score_table(ScoreOptions(model=model, **values), options)
    assert list(tmp_path.iterdir()) == []
    location, _ = find_model_location(model)
    assert location == ModelLocation.at(f"{model}/3")
    variables = "models/3/variables/variables.data-00000-of-00001"
    bucket.put(variables, bucket.read(variables)[:-1])
    with (
        pytest.raises(JobError, match=r"variables.* bytes; it had \d+ when the job was planned"),
        location.local_copy(),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    for wrong, message in (
        (bucket.url("in"), "holds no saved_model.pb and no version"),
        (f"{model}/2", "has no assets.extra/contract.json"),
        (bucket.url("[in]"), r"holds '\['"),
    ):
        with pytest.raises(UsageError, match=message):
            score_table(ScoreOptions(model=wrong, **{**values, "output": bucket.url("other")}), options)
    assert bucket.keys("other") == []


@pytest.mark.faults  # half a minute
def test_a_killed_job_shows_nothing_and_the_next_one_cleans_up(bucket, model, make_columns, scored_elsewhere):
    bucket.put("in/a.parquet", parquet(make_columns(30_000, 1)))
    command = [sys.executable, "-m", "beam_jobs.score", f"--model={model}", f"--input={bucket.url('in/*')}"]
    command += [f"--output={bucket.url('out')}", "--batch_size=2", *bucket.flags]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [*command, *scored_elsewhere], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    # Uploads show when they are complete: one that has begun says that rows are being written.
    until(lambda: any("/scored-" in key for key in bucket.uploads()), of=process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = bucket.keys("out")
    assert [key.rpartition("/")[2] for key in left] == ["lease.json"]
    subprocess.run([*command, "--batch_size=4096"], check=True, capture_output=True, timeout=90, env=environment)
    assert bucket.summary("out")["rows_scored"] == 30_000
    assert bucket.table("out/scored-").num_rows == 30_000
    assert bucket.keys("out.") == []
