"""A worker for `--environment_type PROCESS`: what a runner starts on a machine that has this package and no container.

    maf-serving-worker --id=ID --control_endpoint=HOST:PORT --logging_endpoint=... --provision_endpoint=...

Beam's wheel has the worker and not the program that starts it: `boot`, of its container images, asks the runner for the
options of the pipeline, installs what was staged, and starts the worker. Here everything is installed already.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

import grpc
from apache_beam.portability.api import (
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
from google.protobuf import json_format, text_format

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEADLINE = 60.0  # seconds for the runner to answer
# Which packages the command had; staged always.
_HARMLESS = "submission_environment_dependencies.txt"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a worker until its runner has no more work, and returns its exit status: 1 if it cannot begin."""
    known, _ = _flags().parse_known_args(arguments)
    try:
        info = _ask(known.provision_endpoint, known.id)
        os.environ.update(_environment(known, info))
    except (grpc.RpcError, ValueError) as error:
        reason = error.details() if isinstance(error, grpc.Call) else str(error)
        sys.stderr.write(f"error: worker {known.id} cannot begin: {reason}\n")
        return 1
    sdk_worker_main.main([])
    return 0


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maf-serving-worker", description="A Beam worker; started by a runner with --environment_type PROCESS."
    )
    parser.add_argument("--id", required=True, help="the worker's name")
    parser.add_argument("--provision_endpoint", required=True, metavar="HOST:PORT", help="what to ask for the options")
    parser.add_argument("--control_endpoint", default="", metavar="HOST:PORT", help="who sends work")
    parser.add_argument("--logging_endpoint", default="", metavar="HOST:PORT", help="who gets the log")
    return parser


def _ask(endpoint: str, worker: str) -> Any:
    with grpc.insecure_channel(endpoint) as channel:
        named = grpc.intercept_channel(channel, WorkerIdInterceptor(worker))
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(named)
        return service.GetProvisionInfo(beam_provision_api_pb2.GetProvisionInfoRequest(), timeout=_DEADLINE).info


def _environment(known: argparse.Namespace, info: Any) -> dict[str, str]:
    """What the worker of Beam reads. Raises `ValueError` where the job wants packages that are not installed."""
    staged = [name for each in info.dependencies if (name := _staged_name(each)) != _HARMLESS]
    if staged:
        raise ValueError(
            f"the job stages {', '.join(staged)}; this worker installs nothing: leave out --setup_file, "
            "--requirements_file, --extra_package and --save_main_session, and install packages beforehand"
        )
    environment = {
        "WORKER_ID": known.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    endpoints = {
        "CONTROL": known.control_endpoint or info.control_endpoint.url,
        "LOGGING": known.logging_endpoint or info.logging_endpoint.url,
        "STATUS": info.status_endpoint.url,
    }
    for name, url in endpoints.items():
        if url:
            descriptor = endpoints_pb2.ApiServiceDescriptor(url=url)
            environment[f"{name}_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(descriptor)
    return environment


def _staged_name(artifact: Any) -> str:
    payload = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
    return str(payload.staged_name)


if __name__ == "__main__":
    sys.exit(main())
