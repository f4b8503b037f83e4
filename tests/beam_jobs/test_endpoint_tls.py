"""`--endpoint` with TLS, rate and size: against this project's server in a process of its own, and against scripts."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
import trustme

from beam_jobs import UsageError
from beam_jobs.errors import EndpointBusyError
from beam_jobs.model.endpoint import PredictClient, RowRate
from beam_jobs.options.endpoint_options import EndpointOptions
from beam_jobs.options.flags import parse_score_flags
from beam_jobs.options.job_options import parse_place
from export.contract import Signature, TensorSpec
from maf_serving.messages import message_class
from maf_serving.tensor_proto import to_tensor_proto
from maf_serving.tls import Tls
from tests.forked import STDOUT, Forked, run_python

ROOT = Path(__file__).parents[2]
SIGNATURE = Signature(
    inputs={"x": TensorSpec("float32", (None, 2)), "conditional_input": TensorSpec("float32", (None, 1))},
    outputs={"log_prob": TensorSpec("float32", (None,))},
)


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """Files of an authority, and of a server and a client that it vouches for."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    trustme.CA().cert_pem.write_to_path(directory / "other.pem")
    for name in ("localhost", "client"):
        issued = authority.issue_cert(name)
        issued.private_key_pem.write_to_path(directory / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
    return {path.name: str(path) for path in directory.iterdir()}


@pytest.fixture(scope="module")
def server(model_base, pem, tmp_path_factory):
    """`localhost:port` of a server that lets in only whom the authority vouches for."""
    from google.protobuf import text_format  # noqa: PLC0415

    directory = tmp_path_factory.mktemp("server")
    read = {
        name: text_format.text_encoding.CEscape(Path(path).read_bytes(), as_utf8=False) for name, path in pem.items()
    }
    (directory / "ssl.config").write_text(
        f'server_key: "{read["localhost.key"]}" server_cert: "{read["localhost.pem"]}" '
        f'custom_ca: "{read["ca.pem"]}" client_verify: true'
    )
    with socket.create_server(("localhost", 0)) as first, socket.create_server(("localhost", 0)) as second:
        port, rest_port = first.getsockname()[1], second.getsockname()[1]
    flags = [f"--model_base={model_base}", "--model_name=gaussian", f"--port={port}", f"--rest_api_port={rest_port}"]
    flags.append(f"--ssl_config_file={directory / 'ssl.config'}")
    with (directory / "log").open("w+b") as log:
        process = Forked(
            [sys.executable, "-m", "serving_config.serve", "--backend=local", *flags],
            stdout=log,
            stderr=STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            await_answer(f"localhost:{port}", pem)
            yield f"localhost:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def options(target, pem, ca="ca.pem", **values):
    tls = Tls(root_certificates=pem[ca], client_certificate=pem["client.pem"], client_key=pem["client.key"])
    return EndpointOptions(target=target, model_name="gaussian", tls=tls, **values)


def predict(endpoint, rows=1):
    client = PredictClient(endpoint)
    try:
        inputs = {"x": np.zeros((rows, 2), np.float32), "conditional_input": np.zeros((rows, 1), np.float32)}
        return client.predict("log_prob", SIGNATURE, inputs)["log_prob"]
    finally:
        client.close()


def await_answer(target, pem):
    deadline = time.monotonic() + 90
    while True:
        try:
            return predict(options(target, pem))
        except EndpointBusyError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_a_table_is_scored_over_tls(server, pem, score, write_parquet, make_columns):
    path = write_parquet("a.parquet", make_columns(2_000, 3))
    local = score(path, output="local")
    remote = score(path, output="remote", endpoint=options(server, pem, rows_per_second=1e6))
    np.testing.assert_allclose(
        remote.scored.sort_by("row")["log_prob"], local.scored.sort_by("row")["log_prob"], rtol=1e-5
    )


def test_the_command_takes_the_files(server, pem, model_base, write_parquet, make_columns, tmp_path):
    path = write_parquet("a.parquet", make_columns(10, 3))
    flags = [f"--model={model_base}", f"--input={path}", f"--output={tmp_path / 'o'}", f"--endpoint={server}"]
    flags += ["--endpoint_model_name=gaussian", "--endpoint_root_certificates=ca.pem"]
    flags += ["--endpoint_client_certificate=client.pem", "--endpoint_client_key=client.key"]
    place, env = Path(pem["ca.pem"]).parent, {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run_python("-m", "beam_jobs.score", *flags, timeout=120, cwd=place, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert pq.read_table(tmp_path / "o" / "scored-00000-of-00001.parquet").num_rows == 10


def test_who_cannot_be_trusted_is_not_asked(server, pem):
    stranger = EndpointOptions(
        target=server, model_name="gaussian", timeout=5, tls=Tls(root_certificates=pem["ca.pem"])
    )
    for endpoint in (options(server, pem, ca="other.pem", timeout=5), stranger):
        with pytest.raises(EndpointBusyError, match=f"--grpc_target {server}: UNAVAILABLE"):
            predict(endpoint)


def test_a_file_that_is_not_there_is_named(pem):
    endpoint = EndpointOptions(target="h:1", model_name="m", tls=Tls(root_certificates=f"{pem['ca.pem']}.nowhere"))
    with pytest.raises(UsageError, match=r"--root_certificates .*\.nowhere cannot be read: .*No such file"):
        PredictClient(endpoint)


def test_files_are_absolute_for_workers_elsewhere_and_keys_do_not_travel(pem, monkeypatch):
    monkeypatch.chdir(Path(pem["ca.pem"]).parent)
    flags = ["--model=m", "--input=a", "--output=o", "--endpoint=h:1", "--endpoint_model_name=m"]
    flags += ["--endpoint_root_certificates=ca.pem", "--endpoint_client_certificate=client.pem"]
    parsed, rest = parse_score_flags([*flags, "--endpoint_client_key=gs://bucket/client.key"])
    assert rest == []
    moved = parsed.with_absolute_paths()
    assert moved.endpoint.tls.root_certificates == pem["ca.pem"]
    assert moved.endpoint.tls.client_key == "gs://bucket/client.key"
    assert dict(moved.places())["--client_certificate"] == parse_place(pem["client.pem"])
    assert "--model" not in dict(moved.places())
    assert b"PRIVATE KEY" not in pickle.dumps(options("h:1", pem))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--endpoint_client_key=k"], "belong together"),
        (["--endpoint_rows_per_second=0"], "--rows_per_second is 0; expected more than 0"),
    ],
)
def test_flags_are_checked(flags, message):
    required = ["--model=m", "--input=a", "--output=o", "--endpoint=h:1", "--endpoint_model_name=m"]
    with pytest.raises(UsageError, match=message):
        parse_score_flags([*required, *flags])


def test_flags_of_tls_need_an_endpoint():
    with pytest.raises(UsageError, match="--root_certificates came without --grpc_target"):
        parse_score_flags(["--model=m", "--input=a", "--output=o", "--endpoint_root_certificates=r"])


def test_rows_pass_at_their_rate():
    clock, sleeps = [100.0], []

    def sleep(seconds):
        sleeps.append(seconds)
        clock[0] += seconds

    rate = RowRate(50, namespace="test", clock=lambda: clock[0], sleep=sleep)
    assert all(rate.allow(hits_added=rows) for rows in (100, 25, 25))
    assert sleeps == [2.0, 0.5]
    clock[0] += 60
    assert rate.allow(hits_added=1_000)
    assert sleeps == [2.0, 0.5]
    assert rate.allow(hits_added=1)
    assert sleeps[-1] == pytest.approx(20)
    again = pickle.loads(pickle.dumps(RowRate(50, namespace="test")))  # noqa: S301  # as a runner does
    assert again.allow(hits_added=1)


def test_an_answer_larger_than_grpcs_own_limit_arrives():
    rows = 1_500_000

    class Large(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(self.answer)

        def answer(self, request, context):
            response = message_class("PredictResponse")()
            response.outputs["log_prob"].CopyFrom(to_tensor_proto(np.ones(rows, np.float32)))
            return response.SerializeToString()

    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    running = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Large()], options=unlimited)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        endpoint = EndpointOptions(target=f"127.0.0.1:{port}", model_name="m", max_rows=rows)
        assert predict(endpoint, rows).shape == (rows,)
    finally:
        running.stop(0).wait()
