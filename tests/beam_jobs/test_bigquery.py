"""Tables of BigQuery, from a server that speaks its storage API: what BigQuery itself does is not tested here."""

from __future__ import annotations

import collections
import sys
from concurrent import futures

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import JobError, SampleOptions, UsageError, sample_table
from beam_jobs.options.job_options import BigQueryTable, parse_place
from beam_jobs.sources import bigquery_source
from beam_jobs.sources.bigquery_source import ROWS_OF_A_STREAM, StorageClient

TABLE = "bigquery:project.dataset.rows"
ROWS = 1_000
MESSAGE_ROWS = 40
SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("bigquery:my-project.d_1.t", "bigquery:my-project.d_1.t"),
        ("my-project:d_1.t$20240101", "bigquery:my-project.d_1.t$20240101"),
        ("bigquery:example.com:project.d.t", "bigquery:example.com:project.d.t"),
        ("bigquery:project:d.t", "bigquery:project.d.t"),
        ("data/a:b.csv", None),
        ("a.parquet", None),
        ("gs://bucket/a.csv", None),
        ("bigquery:project", None),
        ("C:a.b", None),
    ],
)
def test_names_of_tables(name, table):
    parsed = BigQueryTable.parse(name)
    assert (None if parsed is None else str(parsed)) == table
    assert parse_place(name).is_here == (table is None and "://" not in name)


def test_draws_need_a_key(run_job, model_base):
    values = {"model": str(model_base), "num_samples": 1, "seed": 1}
    with pytest.raises(UsageError, match=r"have no position that the next job finds again.*--key_column"):
        run_job(sample_table, SampleOptions, "project:dataset.rows", **values)


class Table(grpc.GenericRpcHandler):
    """Answers `CreateReadSession` and `ReadRows` for one table of three streams, the last of them empty."""

    def __init__(self, types, columns: pa.Table) -> None:
        self.types = types
        self.columns = columns
        self.sessions = []
        self.offsets = collections.defaultdict(list)
        self.breaks: dict[int, grpc.StatusCode] = {}

    def service(self, details):
        types = self.types
        if details.method.endswith("CreateReadSession"):
            return grpc.unary_unary_rpc_method_handler(
                self.create, types.CreateReadSessionRequest.deserialize, types.ReadSession.serialize
            )
        return grpc.unary_stream_rpc_method_handler(
            self.read, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize
        )

    def create(self, request, context):
        if not request.read_session.table.endswith("/rows"):
            context.abort(grpc.StatusCode.NOT_FOUND, "Not found: Table")
        self.sessions.append(request)
        fields = list(request.read_session.read_options.selected_fields)
        self.selected = self.columns.select(fields) if fields else self.columns
        streams = [self.types.ReadStream(name=str(number)) for number in range(min(3, request.max_stream_count))]
        return self.types.ReadSession(
            name="session",
            table=request.read_session.table,
            data_format=self.types.DataFormat.ARROW,
            arrow_schema=self.types.ArrowSchema(serialized_schema=self.selected.schema.serialize().to_pybytes()),
            streams=streams,
        )

    def read(self, request, context):
        stream = int(request.read_stream)
        self.offsets[stream].append(request.offset)
        rows = self.selected.slice(stream * ROWS // 2, ROWS // 2)
        start = request.offset
        while start < len(rows):
            if start >= ROWS // 4 and stream in self.breaks:
                context.abort(self.breaks.pop(stream), "cut off")
            batch = rows.slice(start, MESSAGE_ROWS).combine_chunks().to_batches()[0]
            yield self.types.ReadRowsResponse(
                arrow_schema=self.types.ArrowSchema(serialized_schema=batch.schema.serialize().to_pybytes()),
                arrow_record_batch=self.types.ArrowRecordBatch(
                    serialized_record_batch=batch.serialize().to_pybytes(), row_count=batch.num_rows
                ),
                row_count=batch.num_rows,
            )
            start += batch.num_rows


@pytest.fixture
def table(make_columns, monkeypatch):
    storage = pytest.importorskip("google.cloud.bigquery_storage_v1", reason="the extra gcp is not installed")
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (  # noqa: PLC0415
        BigQueryReadGrpcTransport,
    )

    columns = {name: pa.array(values) for name, values in make_columns(ROWS, 4).items()}
    columns["x0"] = pa.array([None, *columns["x0"].to_pylist()[1:]])
    columns["id"] = pa.array(range(ROWS))
    columns["unused"] = pa.array(["text"] * ROWS)
    served = Table(storage.types, pa.table(columns))
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[served])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channels = []

    def open_client():
        channels.append(grpc.insecure_channel(f"127.0.0.1:{port}"))
        transport = BigQueryReadGrpcTransport(channel=channels[-1])
        return StorageClient(api=storage.BigQueryReadClient(transport=transport), project="payer")

    monkeypatch.setattr(bigquery_source, "open_storage", open_client)
    yield served
    for channel in channels:
        channel.close()
    server.stop(0).wait()


def test_every_row_of_every_stream_comes_out_once(table, score, density):
    table.breaks = {1: grpc.StatusCode.UNAVAILABLE}  # the client reconnects, and asks for the rest
    result = score(TABLE, keep=("id",), batch_size=64)
    numbers = {(TABLE, stream * ROWS_OF_A_STREAM + row) for stream in (0, 1) for row in range(ROWS // 2)}
    result.assert_each_row_once(numbers)
    assert list(result.reasons().values()) == ["x0: null"]
    columns = {name: table.columns[name].to_numpy() for name in ("x0", "x1", "c0")}
    by_id = result.scored.sort_by("id")
    assert by_id["id"].to_pylist() == list(range(1, ROWS))
    np.testing.assert_allclose(by_id["log_prob"], density(**columns)[1:], rtol=1e-4, atol=1e-4)
    assert table.offsets[1][0] == 0
    assert table.offsets[1][1] >= ROWS // 4
    first, second = table.sessions
    assert second.parent == "projects/payer"
    assert second.read_session.table == "projects/project/datasets/dataset/tables/rows"
    assert list(second.read_session.read_options.selected_fields) == ["x0", "x1", "c0", "id"]
    assert (first.max_stream_count, second.max_stream_count) == (1, 1000)


def test_draws_follow_their_key(table, run_job, model_base, tmp_path):
    values = {"model": str(model_base), "num_samples": 2, "seed": 1, "key_column": "id"}
    pq.write_table(table.columns, tmp_path / "a.parquet")
    order = [("id", "ascending"), ("draw", "ascending")]
    draws = []
    for source in ("project:dataset.rows", str(tmp_path / "a.parquet")):
        directory = run_job(sample_table, SampleOptions, source, output=f"out{len(draws)}", keep=("id",), **values)
        draws.append(pq.ParquetDataset(sorted(directory.glob("samples-*"))).read().sort_by(order))
    assert draws[0].num_rows == 2 * ROWS
    np.testing.assert_allclose(draws[0]["x0"], draws[1]["x0"], rtol=1e-4, atol=1e-5)


def test_what_is_cut_off_for_good_fails_the_job(table, score):
    table.breaks = {0: grpc.StatusCode.PERMISSION_DENIED}
    with pytest.raises(JobError, match=r"bigquery:project\.dataset\.rows cannot be read on from row 2\d\d: .*cut off"):
        score(TABLE, on_bad_file="reject")


def test_a_table_that_is_not_there_is_refused(table, score):
    with pytest.raises(UsageError, match=r"bigquery:project\.dataset\.none cannot be read from BigQuery: .*Not found"):
        score("bigquery:project.dataset.none")
    with pytest.raises(UsageError, match=r"--keep nothing: column\(s\) nothing not in bigquery:"):
        score(TABLE, keep=("nothing",))


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(UsageError, match=r"needs the extra gcp, but .* install maf-serving\[gcp\]"):
        bigquery_source.open_storage()
