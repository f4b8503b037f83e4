"""Which server to run: the real one, the real one in Docker, or the local one."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable, Mapping

from serving_config.errors import UsageError

PROGRAM = "tensorflow_model_server"
PROGRAM_VARIABLE = "TENSORFLOW_MODEL_SERVER"
_DOCKER_SECONDS = 5.0


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
