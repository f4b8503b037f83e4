"""The `docker run` command line for the official image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serving_config.errors import UsageError
from serving_config.serve_options import ServeOptions, absolute

_PROGRAM = "tensorflow_model_server"


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
