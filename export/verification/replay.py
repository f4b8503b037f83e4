"""Runs the signatures of an exported version in a fresh process, as a server would.

    python -m export.verification.replay --version_dir DIR --requests requests.npz --replies replies.npz

The process knows nothing but the files of the version: no TFP, no model code. Each request runs through both loaders,
`tf.saved_model.load` and the session-based one that TF Serving uses.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import VerificationError
from export.signatures import Request, array_key, read_requests, read_warmup, write_replies, write_requests
from maf_serving.command import when_interrupted
from maf_serving.errors import one_line

Array = np.ndarray[Any, Any]
LOADERS = ("object", "session")


@dataclasses.dataclass(frozen=True, slots=True)
class Replies:
    """Outputs by loader, request and output name."""

    arrays: Mapping[str, Array]

    def output(self, loader: str, request: str, name: str) -> Array:
        """One output of one request."""
        return self.arrays[array_key(loader, request, name)]


def replay(version_dir: Path, requests: Sequence[Request]) -> Replies:
    """Sends `requests` to the version in a fresh process, and its own warm-up records too.

    Raises:
      VerificationError: if the version does not load, or a request or a warm-up record fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        sent, replied = Path(directory, "requests.npz"), Path(directory, "replies.npz")
        write_requests(sent, requests)
        files = ["--version_dir", str(version_dir), "--requests", str(sent), "--replies", str(replied)]
        command = [sys.executable, "-m", "export.verification.replay", *files]
        with (
            subprocess.Popen(  # noqa: S603  # our own module
                command, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            ) as process,
            when_interrupted(lambda _: process.kill()),
        ):
            _, told = process.communicate()
        if process.returncode:
            lines = told.strip().splitlines() or ["no message"]
            raise VerificationError(
                f"the exported version fails in a fresh process (exit status {process.returncode}): {lines[-1]}"
            )
        with np.load(replied) as archive:
            return Replies(dict(archive))


def answer(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs of all requests through both loaders, in this process."""
    return answer_object(version_dir, requests) | answer_session(version_dir, requests)


def answer_object(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs through `tf.saved_model.load`."""
    import tensorflow as tf  # noqa: PLC0415

    replies: dict[str, Array] = {}
    signatures = tf.saved_model.load(version_dir).signatures
    for request in requests:
        with _naming(request):
            outputs = signatures[request.signature](**{k: tf.constant(v) for k, v in request.inputs.items()})
        replies |= {array_key("object", request.name, name): value.numpy() for name, value in outputs.items()}
    return replies


def answer_session(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs through the session-based loader."""
    import tensorflow as tf  # noqa: PLC0415

    replies: dict[str, Array] = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        definitions = tf.compat.v1.saved_model.load(session, ["serve"], version_dir).signature_def
        for request in requests:
            with _naming(request):
                definition = definitions[request.signature]
                feeds = {definition.inputs[name].name: value for name, value in request.inputs.items()}
                fetches = {name: tensor.name for name, tensor in definition.outputs.items()}
                outputs = session.run(fetches, feeds)
            replies |= {array_key("session", request.name, name): value for name, value in outputs.items()}
    return replies


@contextlib.contextmanager
def _naming(request: Request) -> Iterator[None]:
    """Says in an error's last line, the one that people see, which request it was."""
    try:
        yield
    except Exception as error:
        message = one_line(error)
        raise VerificationError(f"request {request.name!r} of signature {request.signature!r}: {message}") from error


def main() -> None:
    """Answers the requests in a file, and the version's warm-up records, as a server does before it is available."""
    parser = argparse.ArgumentParser(description="Run the signatures of an exported version.")
    parser.add_argument("--version_dir", required=True)
    parser.add_argument("--requests", required=True, type=Path)
    parser.add_argument("--replies", required=True, type=Path)
    options = parser.parse_args()

    warmup, requests = read_warmup(Path(options.version_dir)), read_requests(options.requests)
    replies = answer(options.version_dir, [*warmup, *requests])  # together: to load a version takes longest
    wanted = tuple(array_key(loader, request.name, "") for loader in LOADERS for request in requests)
    write_replies(options.replies, {key: value for key, value in replies.items() if key.startswith(wanted)})


def _environment() -> dict[str, str]:
    """This process's environment, quiet, with this package importable from wherever the program runs."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": path}


if __name__ == "__main__":
    main()
