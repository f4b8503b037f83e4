"""The worker of `--environment_type PROCESS`, started with the flags with which Flink starts `boot`."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, beam_runner_api_pb2
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

from beam_jobs import ScoreOptions, boot, score_table
from beam_jobs.runner.options import parse_beam_flags

ROOT = Path(__file__).parents[2]


@pytest.fixture
def program(tmp_path):
    """A program without flags of its own, which notes with which it was started."""
    path = tmp_path / "worker"
    log = tmp_path / "started"
    path.write_text(f'#!/bin/sh\necho "$@" >> {log}\ncd {ROOT}\nexec {sys.executable} -m beam_jobs.boot "$@"\n')
    path.chmod(0o755)
    return path


def test_a_job_runs_on_workers_that_a_runner_starts_so(program, model_base, write_parquet, make_columns, tmp_path):
    path = write_parquet("a.parquet", make_columns(500, 1))
    address, pool = BeamFnExternalWorkerPoolServicer.start(use_process=True, container_executable=str(program))
    options = ScoreOptions(model=str(model_base), input_patterns=(path,), output=str(tmp_path / "out"))
    flags = ["--runner=PortableRunner", "--job_endpoint=embed"]
    flags += ["--environment_type=EXTERNAL", f"--environment_config={address}"]
    try:
        summary = score_table(options, parse_beam_flags(flags))
    finally:
        pool.stop(0).wait()
    assert summary.rows_scored == 500
    started = (tmp_path / "started").read_text()
    for flag in (
        "--id=",
        "--logging_endpoint=",
        "--artifact_endpoint=",
        "--provision_endpoint=",
        "--control_endpoint=",
    ):
        assert flag in started


class Provision(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    def __init__(self, *staged: str) -> None:
        self.info = beam_provision_api_pb2.ProvisionInfo()
        self.info.control_endpoint.url = "control:1"
        for name in staged:
            payload = beam_runner_api_pb2.ArtifactStagingToRolePayload(staged_name=name)
            self.info.dependencies.add(role_payload=payload.SerializeToString())

    def GetProvisionInfo(self, request, context):  # noqa: N802
        self.worker = dict(context.invocation_metadata())["worker_id"]
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=self.info)


@pytest.fixture
def provision():
    servers = []

    def start(*staged):
        service = Provision(*staged)
        server = grpc.server(futures.ThreadPoolExecutor(1))
        beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return service, f"--provision_endpoint=127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait()


def test_the_worker_gets_what_the_runner_says(provision, monkeypatch):
    service, flag = provision("submission_environment_dependencies.txt")
    service.info.pipeline_options["beam:option:job_name:v1"] = "mine"
    started = []
    monkeypatch.setattr(boot.os, "environ", {})
    monkeypatch.setattr(boot.sdk_worker_main, "main", started.append)
    assert boot.main(["--id=7", flag, "--logging_endpoint=log:2", "--artifact_endpoint=unused:3"]) == 0
    assert len(started) == 1
    environment = dict(boot.os.environ)
    assert (service.worker, environment["WORKER_ID"]) == ("7", "7")
    assert json.loads(environment["PIPELINE_OPTIONS"]) == {"beam:option:job_name:v1": "mine"}
    assert environment["CONTROL_API_SERVICE_DESCRIPTOR"].strip() == 'url: "control:1"'
    assert environment["LOGGING_API_SERVICE_DESCRIPTOR"].strip() == 'url: "log:2"'
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in environment


def test_packages_that_are_staged_are_not_left_out_in_silence(provision, capsys):
    _, flag = provision("submission_environment_dependencies.txt", "workflow.tar.gz")
    assert boot.main(["--id=7", flag]) == 1
    assert "error: worker 7 cannot begin: the job stages workflow.tar.gz;" in capsys.readouterr().err


def test_a_runner_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setattr(boot, "_DEADLINE", 0.5)
    assert boot.main(["--id=7", "--provision_endpoint=127.0.0.1:9"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: worker 7 cannot begin: ")


def test_its_help_and_its_name():
    (entry,) = [each for each in _scripts() if each.startswith("maf-serving-worker")]
    assert '"beam_jobs.boot:main"' in entry
    told = subprocess.run([sys.executable, "-m", "beam_jobs.boot", "--help"], capture_output=True, check=True, cwd=ROOT)
    assert b"--provision_endpoint" in told.stdout


def _scripts() -> list[str]:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
