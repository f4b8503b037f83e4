"""Which server to run: the real one, the real one in Docker, or the local one."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from serving_config.errors import UsageError
from serving_config.serve_options import ServeOptions, absolute

PROGRAM = "tensorflow_model_server"
PROGRAM_VARIABLE = "TENSORFLOW_MODEL_SERVER"
_DOCKER_SECONDS = 5.0
_PROGRAM = "tensorflow_model_server"


@dataclasses.dataclass(frozen=True, slots=True)
class Backend:
    """A choice, and why.

    Attributes:
      kind: `binary`, `docker` or `local`.
      reason: completes a sentence after `because`.
      program: path of what to run; none for `local`.
    """

    kind: str
    reason: str
    program: str = ""


def choose_backend(
    requested: str,
    environment: Mapping[str, str],
    *,
    which: Callable[[str], str | None] = shutil.which,
    docker_fails: Callable[[str], str | None] | None = None,
) -> Backend:
    """The backend to run.

    Args:
      requested: `auto`, or the one that was asked for.
      environment: where `TENSORFLOW_MODEL_SERVER` may be.
      which: finds a program on PATH.
      docker_fails: why the Docker program at a path cannot run containers, or `None` if it can.

    Raises:
      UsageError: if the one that was asked for is not there.
    """
    if requested == "local":
        return Backend("local", "--backend is local")
    binary, no_binary = _binary(environment, which)
    if requested in ("auto", "binary") and binary is not None:
        return binary
    if requested == "binary":
        raise UsageError(
            f"--backend is binary, but {no_binary}; set {PROGRAM_VARIABLE} to its path, or use another backend"
        )
    docker = which("docker")
    no_docker = "there is no docker on PATH" if docker is None else (docker_fails or _docker_fails)(docker)
    if docker is not None and no_docker is None:
        return Backend(
            "docker", "--backend is docker" if requested == "docker" else f"{no_binary}, and Docker runs", docker
        )
    if requested == "docker":
        raise UsageError(f"--backend is docker, but {no_docker}; start Docker, or use another backend")
    return Backend("local", f"{no_binary} and {no_docker}")


def _binary(environment: Mapping[str, str], which: Callable[[str], str | None]) -> tuple[Backend | None, str]:
    """The real server, or why there is none."""
    named = environment.get(PROGRAM_VARIABLE)
    if named:
        program = which(named)
        if program is None:
            raise UsageError(f"{PROGRAM_VARIABLE} is {named}, which is no program; expected the path of {PROGRAM}")
        return Backend("binary", f"{PROGRAM_VARIABLE} names it", program), ""
    program = which(PROGRAM)
    if program is not None:
        return Backend("binary", "it is on PATH", program), ""
    return None, f"there is no {PROGRAM} on PATH"


def _docker_fails(docker: str) -> str | None:
    try:
        command = [docker, "info", "--format", "{{.ServerVersion}}"]
        answer = subprocess.run(command, capture_output=True, timeout=_DOCKER_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return "Docker does not answer"
    except OSError:
        return "docker cannot be run"
    return None if answer.returncode == 0 and answer.stdout.strip() else "Docker does not run"


def docker_command(docker: str, options: ServeOptions, base_paths: Sequence[str]) -> list[str]:
    """The command, as a list of arguments.

    Directories and files keep their paths inside the container, read-only, so that configuration files mean the same
    there; the ports are bound to the host's address alone.

    Args:
      docker: path of the program.
      options: what to serve.
      base_paths: base directories of the models; those with `://` are left to the server.

    Raises:
      UsageError: if a path cannot be mounted.
    """
    mounted = [absolute(path) for path in base_paths if "://" not in path]
    files = [options.model_config_file, *(value for name, value in options.flags.items() if name.endswith("_file"))]
    # The directory and not the file: an editor that replaces a file would leave the old one in the container.
    mounted += [str(Path(absolute(path)).parent) for path in files if path is not None]
    command = [docker, "run", "--rm", "--init"]
    ports = filter(None, (options.port, options.rest_api_port))
    command += [f"--publish={_bracketed(options.listens_on)}:{port}:{port}" for port in ports]
    for path in dict.fromkeys(mounted):
        if "," in path or '"' in path:
            raise UsageError(f"Docker cannot mount {path}: a comma or quotation mark is in its name; rename it")
        command.append(f"--mount=type=bind,source={path},target={path},readonly")
    return [*command, f"--entrypoint={_PROGRAM}", options.docker_image, *options.real_server_flags()]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
