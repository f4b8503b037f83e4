"""The command `python -m serving_config.serve`, `maf-serving serve`: a server for exported models, real or local.

A real server takes this process over, and so gets its signals and gives its exit status.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from maf_serving.command import run_command, show
from maf_serving.model_spec import VersionPolicy
from serving_config.errors import UsageError
from serving_config.serve_options import ServeOptions, absolute, parse_serve_flags
from serving_config.serving_backend import PROGRAM, Backend, choose_backend, docker_command
from serving_config.spec import ServedModel, ServingSpec

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a server that could not start, 2 for usage."""
    return run_command(lambda: _serve(arguments), left="no server was started")


def _serve(arguments: Sequence[str] | None) -> int:
    options = parse_serve_flags(sys.argv[1:] if arguments is None else arguments)
    backend = choose_backend(options.backend, os.environ)
    if backend.kind == "local":
        from serving_config.local_server.run import run_local  # noqa: PLC0415  # TensorFlow: --help must not wait

        return run_local(options, backend.reason)
    return _become(backend, options)


def _become(backend: Backend, options: ServeOptions) -> NoReturn:
    """Replaces this process by the real server's."""
    if options.version is not None:
        options = _with_config_file(options, options.version)
    if backend.kind == "docker":
        command = docker_command(backend.program, options, _base_paths(options))
        what, address = f"{PROGRAM} in Docker ({options.docker_image})", options.listens_on
    else:
        if options.host is not None:
            raise UsageError(f"--host is {options.host}; {PROGRAM} listens on all addresses: use another backend")
        command = [backend.program, *options.real_server_flags()]
        what, address = f"{PROGRAM} ({backend.program})", "0.0.0.0"  # noqa: S104  # it says what the program does
    rest = f", REST on {address}:{options.rest_api_port}" if options.rest_api_port else ", no REST"
    show(f"starting {what}: gRPC on {address}:{options.port}{rest}, because {backend.reason}")
    os.execv(command[0], command)  # noqa: S606


def _with_config_file(options: ServeOptions, version: int) -> ServeOptions:
    """The same, by a file: no flag of a real server says which version to serve. It outlives this process."""
    from maf_serving.messages import message_text  # noqa: PLC0415  # protocol messages: --help must not wait
    from serving_config.server_files import model_server_config  # noqa: PLC0415

    base = absolute(str(options.model_base_path))
    policy = VersionPolicy(kind="specific", versions=(version,))
    model = ServedModel(name=options.model_name, base_path=base, version_policy=policy)
    path = Path(tempfile.mkdtemp(prefix="maf-serving-"), "models.config")
    path.write_text(
        message_text(model_server_config(ServingSpec(models=(model,)), {model.name: base})), encoding="utf-8"
    )
    show(f"version {version} of {base} alone: see {path}")
    return dataclasses.replace(options, model_base_path=None, version=None, model_config_file=str(path))


def _base_paths(options: ServeOptions) -> list[str]:
    if options.model_base_path is not None:
        return [options.model_base_path]
    from serving_config.local_server.model_config import read_model_configs  # noqa: PLC0415  # protocol messages

    return [model.base_path for model in read_model_configs(str(options.model_config_file))]


if __name__ == "__main__":
    sys.exit(main())
