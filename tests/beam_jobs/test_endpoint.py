"""`--endpoint`: a model server scores, and the table is the one of the SavedModel."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest

from beam_jobs import UsageError
from beam_jobs.errors import EndpointBusyError, EndpointError
from beam_jobs.model.endpoint import EndpointHandler, PredictClient
from beam_jobs.options.endpoint_options import EndpointOptions
from beam_jobs.options.flags import parse_score_flags
from export.contract import Signature, TensorSpec
from tests.forked import STDOUT, Forked, run_python

REQUIRED = ["--model=m", "--input=a", "--output=o"]
SIGNATURE = Signature(
    inputs={"x": TensorSpec("float32", (None, 2)), "conditional_input": TensorSpec("float32", (None, 1))},
    outputs={"log_prob": TensorSpec("float32", (None,))},
)
NAME = "gaussian"


def free_ports(count):
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


@contextlib.contextmanager
def serving(log_file, *flags):
    """`host:port` of a server in a process of its own, ready to answer."""
    port, rest_port = free_ports(2)
    with log_file.open("w+b") as log:
        process = Forked(
            [
                *(sys.executable, "-m", "serving_config.serve", "--backend=local"),
                *(f"--port={port}", f"--rest_api_port={rest_port}", *flags),
            ],
            stdout=log,
            stderr=STDOUT,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                grpc.channel_ready_future(channel).result(90)
            _await_model(f"127.0.0.1:{port}")
            yield f"127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.fixture(scope="module")
def server(model_base, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    with serving(log, f"--model_base={model_base}", f"--model_name={NAME}") as target:
        yield target


@pytest.fixture(scope="module")
def batching_server(model_base, tmp_path_factory):
    """The same model three times: not batched, in batches of at most 1,000 rows, and of 7."""
    root = tmp_path_factory.mktemp("batching")
    configs = []
    for name, most in ((NAME, None), ("of_1000", 1000), ("of_7", 7)):
        shutil.copytree(model_base, root / name)
        if most is not None:
            (version,) = (entry for entry in (root / name).iterdir() if entry.name.isdigit())
            (version / "batching_params.pbtxt").write_text(f"max_batch_size {{ value: {most} }}")
        configs.append(f'config {{ name: "{name}" base_path: "{root / name}" model_platform: "tensorflow" }}')
    (root / "models.config").write_text(f"model_config_list {{ {' '.join(configs)} }}")
    batching = ["--enable_batching", "--enable_per_model_batching_parameters"]
    with serving(root / "log", f"--model_config_file={root / 'models.config'}", *batching) as target:
        yield target


def _await_model(target):
    deadline = time.monotonic() + 60
    while True:
        try:
            return handler(target).probe()
        except (EndpointBusyError, UsageError):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def handler(target, **options):
    endpoint = EndpointOptions(target=target, model_name=NAME, **options)
    return EndpointHandler(endpoint, signature_name="log_prob", signatures={"log_prob": SIGNATURE})


def run_score(*flags):
    return run_python("-m", "beam_jobs.score", *flags, timeout=120)


@pytest.mark.parametrize("signature", ["log_prob", "inverse"])
def test_a_server_gives_the_same_table_as_the_model(signature, server, score, write_parquet, make_columns):
    columns = make_columns(3_000, 7)
    columns["x0"][5] = np.nan
    path = write_parquet("a.parquet", columns, row_group_size=700)
    endpoint = EndpointOptions(target=server, model_name=NAME, max_rows=256)
    options = {"batch_size": 1_000, "signature_name": signature}
    local = score(path, output="local", **options)
    remote = score(path, output="remote", endpoint=endpoint, **options)
    assert (remote.summary.rows_scored, remote.summary.rows_rejected) == (2_999, 1)
    assert remote.scored.schema == local.scored.schema
    order = [("row", "ascending")]
    for name in set(local.scored.schema.names) - {"file"}:
        np.testing.assert_allclose(
            remote.scored.sort_by(order)[name].to_numpy(), local.scored.sort_by(order)[name].to_numpy(), rtol=1e-5
        )


@pytest.mark.parametrize("name", ["of_1000", "of_7"])
def test_a_server_that_batches_fewer_rows_scores_them_all(name, batching_server, score, write_parquet, make_columns):
    path = write_parquet("a.parquet", make_columns(3_000, 7), row_group_size=2_500)
    local = score(path, output="local", batch_size=2_500)
    endpoint = EndpointOptions(target=batching_server, model_name=name)
    remote = score(path, output="remote", batch_size=2_500, endpoint=endpoint)
    assert (remote.summary.rows_scored, remote.summary.rows_rejected) == (3_000, 0)
    np.testing.assert_allclose(
        remote.scored.sort_by("row")["log_prob"].to_numpy(),
        local.scored.sort_by("row")["log_prob"].to_numpy(),
        rtol=1e-5,
    )


def test_the_command_scores_without_tensorflow(server, model_base, write_parquet, make_columns, tmp_path):
    path = write_parquet("a.parquet", make_columns(100, 1))
    arguments = [f"--model={model_base}", f"--input={path}", f"--output={tmp_path / 'o'}", f"--endpoint={server}"]
    arguments.append(f"--endpoint_model_name={NAME}")
    code = (
        f"import sys; from beam_jobs.score import main; status = main({arguments})\n"
        "print(status, sorted({'tensorflow', 'serving_config'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
    assert pq.read_table(tmp_path / "o" / "scored-00000-of-00001.parquet").num_rows == 100


def test_a_server_that_is_down_is_one_line_and_status_1(model_base, write_parquet, make_columns, tmp_path):
    path = write_parquet("a.parquet", make_columns(100, 1))
    (port,) = free_ports(1)
    flags = [f"--endpoint=127.0.0.1:{port}", f"--endpoint_model_name={NAME}"]
    done = run_score(f"--model={model_base}", f"--input={path}", f"--output={tmp_path / 'o'}", *flags)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --grpc_target 127.0.0.1:{port}: UNAVAILABLE: ")
    assert done.stderr.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.parquet"]


def test_a_model_that_the_server_has_not_is_refused_before_the_start(server, score, write_parquet, make_columns):
    path = write_parquet("a.parquet", make_columns(10, 1))
    for options in ({"model_name": "other"}, {"model_name": NAME, "version": 99}):
        with pytest.raises(UsageError, match="NOT_FOUND"):
            score(path, endpoint=EndpointOptions(target=server, **options))


class Rows:
    def __init__(self, rows):
        self.condition = None
        self.inputs = {"x": np.zeros((rows, 2), np.float32), "conditional_input": np.zeros((rows, 1), np.float32)}

    def __len__(self):
        return len(self.inputs["x"])


def ask(model, rows):
    client = model.load_model()
    try:
        (result,) = model.run_inference(Rows(rows), client)
    finally:
        client.close()
    return result.inference["log_prob"].tolist()


def test_a_batch_goes_out_in_requests_of_limited_size_and_none_is_empty(scripted):
    service, target = scripted()
    model = handler(target, max_rows=3)
    assert ask(model, 7) == [3, 3, 3, 3, 3, 3, 1]
    assert ask(model, 0) == []
    assert service.rows == [3, 3, 1]


def test_the_limit_of_a_refusal_holds_for_the_process(scripted):
    service, target = scripted(most_rows=3)
    model = handler(target)
    client = model.load_model()
    for _ in range(2):
        (result,) = model.run_inference(Rows(7), client)
        assert result.inference["log_prob"].tolist() == [3, 3, 3, 3, 3, 3, 1]
    client.close()
    assert service.rows == [7, 3, 3, 1, 3, 3, 1]


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(scripted, monkeypatch):
    waits = []
    monkeypatch.setattr("apache_beam.utils.retry.Clock.sleep", lambda self, seconds: waits.append(seconds))
    monkeypatch.setattr("apache_beam.io.components.adaptive_throttler.time.sleep", lambda seconds: None)
    service, target = scripted(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert ask(handler(target), 2) == [2, 2]
    assert len(service.rows) == 3
    assert len(waits) == 2
    service, target = scripted(grpc.StatusCode.INVALID_ARGUMENT)
    with pytest.raises(EndpointError, match="INVALID_ARGUMENT: not now"):
        ask(handler(target), 2)
    assert len(service.rows) == 1
    service, target = scripted(*[grpc.StatusCode.UNAVAILABLE] * 9)
    with pytest.raises(EndpointBusyError, match="UNAVAILABLE: not now"):
        ask(handler(target, retries=2), 2)
    assert len(service.rows) == 3


def test_an_answer_that_is_not_the_contracts_is_refused(scripted):
    _, target = scripted()
    other = Signature(inputs=SIGNATURE.inputs, outputs={"log_prob": TensorSpec("float32", (None, 2))})
    endpoint = EndpointOptions(target=target, model_name=NAME)
    model = EndpointHandler(endpoint, signature_name="log_prob", signatures={"log_prob": other})
    with pytest.raises(UsageError, match=r"answered log_prob float32 \[1\]; .* says log_prob float32 \[1, 2\]"):
        model.probe()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--endpoint=host"], "expected HOST:PORT"),
        (["--endpoint=http://host:8501"], "expected HOST:PORT"),
        (["--endpoint=h:1"], "--model_name is missing"),
        (["--endpoint_version=3"], "--version came without --grpc_target"),
        (["--endpoint=h:1", "--endpoint_model_name=m", "--endpoint_max_rows=0"], "expected at least 1"),
        (["--endpoint=h:1", "--endpoint_model_name=m", "--endpoint_version=1", "--endpoint_label=s"], "at most one"),
        (["--endpoint=h:1", "--endpoint_model_name=m", "--endpoint_timeout=0"], "more than 0 seconds"),
    ],
)
def test_flags_of_the_endpoint_are_checked(flags, message):
    with pytest.raises(UsageError, match=message):
        parse_score_flags([*REQUIRED, *flags])


def test_a_client_is_closed_after_use():
    client = PredictClient(EndpointOptions(target="127.0.0.1:1", model_name="m"))
    client.close()
    with pytest.raises(ValueError, match="closed channel"):
        client.predict("log_prob", SIGNATURE, {"x": np.zeros((1, 2), np.float32)})


def test_the_flags_as_they_are_and_as_they_were_called_once():
    now = {
        "grpc_target": "h:1",
        "model_name": "m",
        "version": "3",
        "rows_per_request": "7",
        "timeout": "2",
        "attempts": "3",
        "rows_per_second": "9",
        "root_certificates": "r.pem",
    }
    once = {"grpc_target": "endpoint", "rows_per_request": "endpoint_max_rows"}
    before = {once.get(name, f"endpoint_{name}"): value for name, value in now.items() if name != "attempts"}
    before["endpoint_retries"] = "2"
    given = [
        parse_score_flags([*REQUIRED, *(f"--{name}={value}" for name, value in flags.items())])
        for flags in (now, before)
    ]
    assert given[0] == given[1]
    assert given[0][1] == []
    assert given[0][0].endpoint.retries == 2
    labelled = (
        parse_score_flags([*REQUIRED, "--endpoint=h:1", "--model_name=m", f"--{name}=stable"])[0].endpoint
        for name in ("version_label", "endpoint_label")
    )
    assert {each.version_label for each in labelled} == {"stable"}
