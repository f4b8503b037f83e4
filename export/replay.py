"""Runs the signatures of an exported version in a fresh process, as a server would.

    python -m export.replay --version_dir DIR --requests requests.npz --replies replies.npz

The process knows nothing but the files of the version: no TFP, no model code. Each request runs through both loaders,
`tf.saved_model.load` and the session-based one that TF Serving uses.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import VerificationError

Array = np.ndarray[Any, Any]
LOADERS = ("object", "session")


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One call: a name that tells it from others, a signature, and its inputs by name."""

    name: str
    signature: str
    inputs: Mapping[str, Array]


@dataclasses.dataclass(frozen=True, slots=True)
class Replies:
    """Outputs by loader, request and output name."""

    arrays: Mapping[str, Array]

    def output(self, loader: str, request: str, name: str) -> Array:
        """One output of one request."""
        return self.arrays[_key(loader, request, name)]


def replay(version_dir: Path, requests: Sequence[Request]) -> Replies:
    """Sends `requests` to the version in a fresh process.

    Raises:
      VerificationError: if the version does not load, or a request fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        sent, replied = Path(directory, "requests.npz"), Path(directory, "replies.npz")
        write_requests(sent, requests)
        files = ["--version_dir", str(version_dir), "--requests", str(sent), "--replies", str(replied)]
        command = [sys.executable, "-m", "export.replay", *files]
        process = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)  # noqa: S603
        if process.returncode:
            lines = process.stderr.strip().splitlines() or ["no message"]
            raise VerificationError(
                f"the exported version fails in a fresh process (exit status {process.returncode}): {lines[-1]}"
            )
        with np.load(replied) as archive:
            return Replies(dict(archive))


def write_requests(path: Path, requests: Sequence[Request]) -> None:
    """Writes what `read_requests` reads."""
    _write_arrays(path, {_key(r.name, r.signature, k): value for r in requests for k, value in r.inputs.items()})


def read_requests(path: Path) -> list[Request]:
    """The requests in a file."""
    inputs: dict[tuple[str, str], dict[str, Array]] = {}
    with np.load(path) as archive:
        for key, value in archive.items():
            name, signature, tensor = key.split("|")
            inputs.setdefault((name, signature), {})[tensor] = value
    return [Request(name, signature, tensors) for (name, signature), tensors in inputs.items()]


def answer(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs of all requests through both loaders, in this process."""
    return answer_object(version_dir, requests) | answer_session(version_dir, requests)


def answer_object(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs through `tf.saved_model.load`."""
    import tensorflow as tf  # noqa: PLC0415

    replies: dict[str, Array] = {}
    signatures = tf.saved_model.load(version_dir).signatures
    for request in requests:
        outputs = signatures[request.signature](**{k: tf.constant(v) for k, v in request.inputs.items()})
        replies |= {_key("object", request.name, name): value.numpy() for name, value in outputs.items()}
    return replies


def answer_session(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs through the session-based loader."""
    import tensorflow as tf  # noqa: PLC0415

    replies: dict[str, Array] = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        definitions = tf.compat.v1.saved_model.load(session, ["serve"], version_dir).signature_def
        for request in requests:
            definition = definitions[request.signature]
            feeds = {definition.inputs[name].name: value for name, value in request.inputs.items()}
            fetches = {name: tensor.name for name, tensor in definition.outputs.items()}
            outputs = session.run(fetches, feeds)
            replies |= {_key("session", request.name, name): value for name, value in outputs.items()}
    return replies


def main() -> None:
    """Answers the requests in a file."""
    parser = argparse.ArgumentParser(description="Run the signatures of an exported version.")
    parser.add_argument("--version_dir", required=True)
    parser.add_argument("--requests", required=True, type=Path)
    parser.add_argument("--replies", required=True, type=Path)
    options = parser.parse_args()
    _write_arrays(options.replies, answer(options.version_dir, read_requests(options.requests)))


def _write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    entries: Any = arrays  # NumPy's stubs take every keyword for `allow_pickle`
    np.savez(path, **entries)


def _key(*parts: str) -> str:
    return "|".join(parts)


def _environment() -> dict[str, str]:
    """This process's environment, quiet, with this package importable from wherever the program runs."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": path}


if __name__ == "__main__":
    main()
