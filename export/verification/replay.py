"""Runs the signatures of an exported version in a fresh process, as a server would.

    python -m export.verification.replay < {"version_dir": DIR, "requests": requests.npz, "replies": replies.npz}

The process knows nothing but the files of the version: no TFP, no model code. It starts TensorFlow, which takes
seconds, while the version is still being made, and learns from its standard input that the files are there.

Each request runs through both loaders: through the session-based one as TF Serving runs it, with TensorFlow's rewrites
of the graph, and through `tf.saved_model.load` as the graph was written. So a rewrite that changes an answer is a
difference between the loaders, and is paid for once.

A session prepares a graph for each set of tensors that it is asked for, and every part of the library that this calls
anew. So it is asked for all signatures at once, in rounds: a request of each, then the next. Only if a round fails is
each of its requests sent alone, to name the one that does.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.errors import VerificationError
from maf_serving.command import when_interrupted
from maf_serving.errors import one_line
from maf_serving.quiet_tensorflow import keras_later

if TYPE_CHECKING:
    from export.signatures import Request

Array = np.ndarray[Any, Any]
LOADERS = ("object", "session")


@dataclasses.dataclass(frozen=True, slots=True)
class Replies:
    """Outputs by loader, request and output name."""

    arrays: Mapping[str, Array]

    def output(self, loader: str, request: str, name: str) -> Array:
        """One output of one request."""
        return self.arrays[array_key(loader, request, name)]


Replay = Callable[[Path, Sequence["Request"]], Replies]


@contextlib.contextmanager
def fresh_process() -> Iterator[Replay]:
    """A process for one call of `replay`, begun while the block prepares what to send; it ends with the block."""
    command = [sys.executable, "-m", "export.verification.replay"]
    with (
        subprocess.Popen(  # noqa: S603  # our own module
            command,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        when_interrupted(lambda _: process.kill()),
    ):
        try:
            yield functools.partial(_replay, process)
        finally:
            process.kill()  # one that has answered has ended


def replay(version_dir: Path, requests: Sequence[Request]) -> Replies:
    """Sends `requests` to the version in a fresh process, and its own warm-up records too.

    Raises:
      VerificationError: if the version does not load, or a request or a warm-up record fails.
    """
    with fresh_process() as send:
        return send(version_dir, requests)


def _replay(process: subprocess.Popen[str], version_dir: Path, requests: Sequence[Request]) -> Replies:
    with tempfile.TemporaryDirectory() as directory:
        sent, replied = Path(directory, "requests.npz"), Path(directory, "replies.npz")
        write_requests(sent, requests)
        files = {"version_dir": str(version_dir), "requests": str(sent), "replies": str(replied)}
        _, told = process.communicate(json.dumps(files))
        if process.returncode:
            lines = told.strip().splitlines() or ["no message"]
            raise VerificationError(
                f"the exported version fails in a fresh process (exit status {process.returncode}): {lines[-1]}"
            )
        with np.load(replied) as archive:
            return Replies(dict(archive))


def answer(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs of all requests through both loaders, in this process, at the same time."""
    with ThreadPoolExecutor(max_workers=1) as background:
        session = background.submit(answer_session, version_dir, requests)
        return answer_object(version_dir, requests) | session.result()


def answer_object(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs through `tf.saved_model.load`, of the graph as it was written."""
    import tensorflow as tf  # noqa: PLC0415

    from export.compiled.rows import rewriting  # noqa: PLC0415

    replies: dict[str, Array] = {}
    signatures = tf.saved_model.load(version_dir).signatures
    for request in requests:
        with rewriting(wanted=False), _naming(request):
            outputs = signatures[request.signature](**{k: tf.constant(v) for k, v in request.inputs.items()})
        replies |= {array_key("object", request.name, name): value.numpy() for name, value in outputs.items()}
    return replies


def answer_session(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs through the session-based loader."""
    import tensorflow as tf  # noqa: PLC0415

    replies: dict[str, Array] = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        definitions = tf.compat.v1.saved_model.load(session, ["serve"], version_dir).signature_def

        def run(sent: Sequence[Request]) -> None:
            feeds = {
                definitions[request.signature].inputs[name].name: value
                for request in sent
                for name, value in request.inputs.items()
            }
            fetches = {
                request.name: {name: tensor.name for name, tensor in definitions[request.signature].outputs.items()}
                for request in sent
            }
            for request, outputs in session.run(fetches, feeds).items():
                replies.update({array_key("session", request, name): value for name, value in outputs.items()})

        tensors = {name: frozenset(info.name for info in each.inputs.values()) for name, each in definitions.items()}
        for sent in rounds(requests, tensors):
            try:
                run(sent)
            except Exception as error:
                for request in sent:
                    with _naming(request):
                        run([request])
                names = ", ".join(request.signature for request in sent)
                raise VerificationError(f"the signatures {names} at once: {one_line(error)}") from error
    return replies


def rounds(requests: Sequence[Request], tensors: Mapping[str, frozenset[str]]) -> list[list[Request]]:
    """Requests that can be sent at once, those of the same signatures in every round, so that it is the same graph.

    Whose turns are over sends its smallest request again.

    Args:
      requests: whatever is to be sent, in order.
      tensors: by signature, the tensors that are fed. Signatures that share one take turns.
    """
    turns: list[tuple[set[str], list[Request]]] = []
    for request in requests:
        fed = set(tensors.get(request.signature, [request.signature]))
        sharing = [turn for turn in turns if turn[0] & fed]
        turns = [turn for turn in turns if not turn[0] & fed]
        of_them = [each for _, others in sharing for each in others]
        turns.append((fed.union(*(shared for shared, _ in sharing)), [*of_them, request]))
    count = max((len(each) for _, each in turns), default=0)
    filled = [[*each, *[min(each, key=_size)] * (count - len(each))] for _, each in turns]
    return [list(sent) for sent in zip(*filled, strict=True)]


def _size(request: Request) -> int:
    return sum(value.size for value in request.inputs.values())


def write_requests(path: Path, requests: Sequence[Request]) -> None:
    """Writes what `read_requests` reads."""
    write_replies(path, {array_key(r.name, r.signature, k): _written(v) for r in requests for k, v in r.inputs.items()})


def read_requests(path: Path) -> list[Request]:
    """The requests in a file."""
    from export.signatures import Request  # noqa: PLC0415

    inputs: dict[tuple[str, str], dict[str, Array]] = {}
    with np.load(path) as archive:
        for key, value in archive.items():
            name, signature, tensor = key.split("|")
            inputs.setdefault((name, signature), {})[tensor] = _read(value)
    return [Request(name, signature, tensors) for (name, signature), tensors in inputs.items()]


def write_replies(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes what `np.load` reads."""
    entries: Any = arrays  # NumPy's stubs take every keyword for `allow_pickle`
    np.savez(path, **entries)


def array_key(*parts: str) -> str:
    """One name for an array in a file, of names without `|`."""
    return "|".join(parts)


def _written(value: Array) -> Array:
    """Texts in base64: NumPy's own fixed-width texts lose zeros at the end."""
    if value.dtype.kind != "O":
        return value
    return _of_shape(value, np.array([base64.b64encode(text) for text in value.ravel()], np.bytes_))


def _read(value: Array) -> Array:
    if value.dtype.kind != "S":
        return value
    return _of_shape(value, np.array([base64.b64decode(text) for text in value.ravel()], object))


def _of_shape(value: Array, flat: Array) -> Array:
    shaped: Array = flat.reshape(value.shape)
    return shaped


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
    with keras_later():
        import tensorflow as tf  # noqa: PLC0415

    from export.signatures import read_warmup  # noqa: PLC0415

    tf.config.list_logical_devices()  # by the time that the version is there, all of TensorFlow has started
    told = sys.stdin.read()
    if not told:
        return  # the version came to nothing
    files = json.loads(told)
    warmup, requests = read_warmup(Path(files["version_dir"])), read_requests(Path(files["requests"]))
    replies = answer(files["version_dir"], [*warmup, *requests])  # together: to load a version takes longest
    wanted = tuple(array_key(loader, request.name, "") for loader in LOADERS for request in requests)
    write_replies(Path(files["replies"]), {key: value for key, value in replies.items() if key.startswith(wanted)})


def _environment() -> dict[str, str]:
    """This process's environment, quiet, with this package importable from wherever the program runs."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": path}


if __name__ == "__main__":
    main()
