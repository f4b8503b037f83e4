"""Results into a table of BigQuery, through a server that speaks its REST API: BigQuery itself is not tested here."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fastavro
import pyarrow.parquet as pq
import pytest
import requests

from beam_jobs import JobError, SampleOptions, ScoreOptions, UsageError, sample_table, score_table
from beam_jobs.jobs.running import load_results
from beam_jobs.options import job_options
from beam_jobs.output import bigquery_load
from tests.beam_jobs import kept_file_system

TABLE = "bigquery:my-project.scores.daily"
DATASET = "/projects/my-project/datasets/scores"
JOBS = "/projects/my-project/jobs"


class FakeBigQuery:
    """One dataset in one place. A load takes two looks, and then all its rows are there, or its error is."""

    def __init__(self) -> None:
        self.rows: list[dict] | None = None
        self.jobs: dict[str, dict] = {}
        self.asked: list[str] = []
        self.busy: list[int] = []
        self.error: str | None = None
        self.keep_answers = True

    def answer(self, method: str, path: str, body: dict | None) -> tuple[int, dict]:
        path, _, query = path.partition("?")
        self.asked.append(f"{method} {path}")
        if self.busy:
            return self.busy.pop(0), {"error": {"message": "try\nagain"}}
        if path == DATASET:
            return 200, {"location": "europe-west1"}
        if path == f"{DATASET}/tables/daily" and self.rows is not None:
            return 200, {"numRows": str(len(self.rows))}
        return self.insert(body) if (method, path) == ("POST", JOBS) else self.look(path, query)

    def look(self, path: str, query: str) -> tuple[int, dict]:
        job = self.jobs.get(path.removeprefix(f"{JOBS}/"))
        if job is None or query != "location=europe-west1":
            return 404, {"error": {"message": f"Not found: {path}"}}
        job["looks"] += 1
        if job["looks"] < 2:
            return 200, {"status": {"state": "RUNNING"}}
        if job["looks"] == 2:
            self.run(job)
        return 200, {"status": {"state": "DONE", **job["result"]}}

    def insert(self, body: dict) -> tuple[int, dict]:
        reference = body["jobReference"]
        assert reference["location"] == "europe-west1"
        if reference["jobId"] in self.jobs:
            return 409, {"error": {"message": "Already Exists"}}
        self.jobs[reference["jobId"]] = {"looks": 0, "load": body["configuration"]["load"], "result": {}}
        if not self.keep_answers:
            self.keep_answers = True
            return 503, {"error": {"message": "the answer got lost"}}
        return 200, {}

    def run(self, job: dict) -> None:
        load = job["load"]
        error = self.error
        if load["writeDisposition"] == "WRITE_EMPTY" and self.rows:
            error = "Already Exists: Table"
        if error is not None:
            job["result"] = {"errorResult": {"message": error}}
            return
        rows = []
        for uri in load["sourceUris"]:
            with kept_file_system.local(uri).open("rb") as stream:
                if load["sourceFormat"] == "AVRO":
                    rows += fastavro.reader(stream)
                else:
                    rows += pq.read_table(stream).to_pylist()
        self.rows = rows


@pytest.fixture
def bigquery(monkeypatch):
    fake = FakeBigQuery()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, content = fake.answer(self.command, self.path, body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments) -> None:
            """Not on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sessions = []

    def open_session():
        sessions.append(requests.Session())
        return sessions[-1]

    monkeypatch.setattr(bigquery_load, "API", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(bigquery_load, "open_session", open_session)
    monkeypatch.setattr(bigquery_load, "_ASKED_AGAIN_AFTER", 0.01)
    monkeypatch.setattr(job_options, "LOADED_FROM", ("kept://",))
    yield fake
    for session in sessions:
        session.close()
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(model_base, write_parquet, make_columns, tmp_path):
    path = write_parquet("a.parquet", {**make_columns(300, 1), "id": range(300)})

    def run(job=score_table, options=ScoreOptions, **values):
        output = f"kept://{tmp_path}/out"
        return job(
            options(
                model=str(model_base),
                input_patterns=(path,),
                output=output,
                keep=("id",),
                output_table=TABLE,
                **values,
            )
        )

    return run


def test_all_rows_appear_in_the_table(bigquery, run, tmp_path):
    summary = run(rows_per_file=100)
    assert sorted(row["id"] for row in bigquery.rows) == list(range(300))
    assert (tmp_path / "out" / "_summary.json").exists()
    (job,) = bigquery.jobs.values()
    results = [name for name in summary.output_files if name.startswith("scored-")]
    assert job["load"]["sourceUris"] == [f"kept://{tmp_path}/out/{name}" for name in results]
    assert len(results) >= 3
    assert job["load"]["writeDisposition"] == "WRITE_EMPTY"
    assert bigquery.asked[:2] == [f"GET {DATASET}", f"GET {DATASET}/tables/daily"]  # before anything started


def test_draws_as_avro_replace_what_was_there(bigquery, run):
    bigquery.rows = [{"id": -1}]
    run(sample_table, SampleOptions, num_samples=2, seed=1, output_format="avro", existing_output="replace")
    assert sorted(row["id"] for row in bigquery.rows) == sorted([*range(300), *range(300)])
    (job,) = bigquery.jobs.values()
    assert (job["load"]["writeDisposition"], job["load"]["useAvroLogicalTypes"]) == ("WRITE_TRUNCATE", True)


def test_a_table_with_rows_is_refused_before_anything_starts(bigquery, run, tmp_path):
    bigquery.rows = [{"id": -1}]
    with pytest.raises(UsageError, match=r"--output_table bigquery:.*daily has rows; name another, or add --overwrite"):
        run()
    assert not list(tmp_path.glob("out*"))
    bigquery.busy = [404]
    with pytest.raises(UsageError, match=r"--output_table bigquery:.*daily cannot be loaded: try again$"):
        run()


def test_a_load_that_fails_leaves_the_files_and_the_table(bigquery, run, tmp_path):
    bigquery.rows = []
    bigquery.error = "no such\ncolumn"
    with pytest.raises(JobError, match=r"daily was not loaded: no such\ncolumn; the files are in kept://.*/out"):
        run()
    assert bigquery.rows == []
    assert (tmp_path / "out" / "_summary.json").exists()


def test_a_busy_server_and_a_lost_answer_do_not_load_twice(bigquery, run, tmp_path):
    bigquery.busy = [503, 429]
    bigquery.keep_answers = False
    summary = run()
    assert len(bigquery.jobs) == 1
    # As a worker does that is run again after the output was published.
    values = {"model": "m", "input_patterns": ("i",), "output": f"kept://{tmp_path}/out", "output_table": TABLE}
    load_results(summary, ScoreOptions(**values))
    assert len(bigquery.jobs) == 1
    assert len(bigquery.rows) == 300


def test_a_server_that_stays_away(bigquery, run, tmp_path):
    bigquery.busy = [500] * 5
    with pytest.raises(UsageError, match="cannot be loaded: try again"):
        run()
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"output_table": "daily"}, "--output_table is 'daily'; expected bigquery:project.dataset.table"),
        ({"output": "out"}, r"--output_table came with --output out; expected gs://\.\.\."),
        ({"output_format": "csv"}, "--output_table came with --output_format csv; expected parquet or avro"),
    ],
)
def test_what_bigquery_cannot_load_is_refused(values, message):
    given = {"model": "m", "input_patterns": ("i",), "output": "gs://bucket/out", "output_table": TABLE, **values}
    with pytest.raises(UsageError, match=message):
        ScoreOptions(**given)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(UsageError, match=r"--output_table needs the extra gcp, but .* install maf-serving\[gcp\]"):
        bigquery_load.open_session()
