"""Runs the signatures of an exported version in a fresh process, as a server would.

    python -m export.verification.replay < {"version_dir": DIR}
                                           {"requests": requests.npz, "replies": replies.npz}

The process knows nothing but the files of the version: no TFP, no model code. It starts TensorFlow, which takes
seconds, while the version is still being made. Two lines of its standard input tell it that there is something to load,
and then what to ask.

Each request runs through both loaders: through the session-based one as TF Serving runs it, with TensorFlow's rewrites
of the graph, and through `tf.saved_model.load` as the graph was written. So a rewrite that changes an answer is a
difference between the loaders, and is paid for once.

A session is asked for many signatures at once (`rounds.py`). Only if that fails is each request sent alone, to name the
one that does.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from export.errors import VerificationError
from export.verification.rounds import rounds, signatures_of
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


class Replay(Protocol):
    """Answers requests by a version."""

    def load(self, version_dir: Path) -> None:
        """Begins to load a version; its requests may be made meanwhile."""
        ...

    def __call__(self, version_dir: Path, requests: Sequence[Request]) -> Replies:
        """Sends `requests` to the version, which is loaded if it is not yet, and its own warm-up records too."""
        ...


@contextlib.contextmanager
def fresh_process() -> Iterator[Replay]:
    """A process for one call of a `Replay`, begun while the block prepares what to send; it ends with the block."""
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
            yield _FreshProcess(process)
        finally:
            process.kill()  # one that has answered has ended


class _FreshProcess:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._told: Path | None = None

    def load(self, version_dir: Path) -> None:
        self._told = version_dir
        self._tell({"version_dir": str(version_dir)})

    def __call__(self, version_dir: Path, requests: Sequence[Request]) -> Replies:
        if self._told != version_dir:
            self.load(version_dir)
        with tempfile.TemporaryDirectory() as directory:
            sent, replied = Path(directory, "requests.npz"), Path(directory, "replies.npz")
            write_requests(sent, requests)
            self._tell({"requests": str(sent), "replies": str(replied)})
            _, told = self._process.communicate()
            if self._process.returncode:
                lines = told.strip().splitlines() or ["no message"]
                status = self._process.returncode
                raise VerificationError(
                    f"the exported version fails in a fresh process (exit status {status}): {lines[-1]}"
                )
            with np.load(replied) as archive:
                return Replies(dict(archive))

    def _tell(self, what: Mapping[str, str]) -> None:
        if self._process.stdin is None:
            raise ValueError("the process was begun without a pipe to its standard input")
        with contextlib.suppress(BrokenPipeError):  # one that has failed says so when it is asked what became of it
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()


def replay(version_dir: Path, requests: Sequence[Request]) -> Replies:
    """Sends `requests` to the version in a fresh process, and its own warm-up records too.

    Raises:
      VerificationError: if the version does not load, or a request or a warm-up record fails.
    """
    with fresh_process() as send:
        return send(version_dir, requests)


class LoadedTwice:
    """A version in this process, through both loaders."""

    def __init__(self, version_dir: str) -> None:
        self._object = ObjectVersion(version_dir)
        self._session = SessionVersion(version_dir)

    def answer(self, requests: Sequence[Request]) -> dict[str, Array]:
        """Outputs of all requests through both, at the same time."""
        with ThreadPoolExecutor(max_workers=1) as background:
            session = background.submit(self._session.answer, requests)
            return self._object.answer(requests) | session.result()


class ObjectVersion:
    """A version through `tf.saved_model.load`, its graph as it was written."""

    def __init__(self, version_dir: str) -> None:
        import tensorflow as tf  # noqa: PLC0415

        self._loaded = tf.saved_model.load(version_dir)

    def answer(self, requests: Sequence[Request]) -> dict[str, Array]:
        """Outputs of all requests."""
        import tensorflow as tf  # noqa: PLC0415

        from export.compiled.rows import rewriting  # noqa: PLC0415

        replies: dict[str, Array] = {}
        for request in requests:
            with rewriting(wanted=False), _naming(request):
                inputs = {name: tf.constant(value) for name, value in request.inputs.items()}
                outputs = self._loaded.signatures[request.signature](**inputs)
            replies |= {array_key("object", request.name, name): value.numpy() for name, value in outputs.items()}
        return replies


class SessionVersion:
    """A version through the session-based loader."""

    def __init__(self, version_dir: str) -> None:
        import tensorflow as tf  # noqa: PLC0415

        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], version_dir)
        self._signatures = signatures_of(graph, loaded.signature_def)

    def answer(self, requests: Sequence[Request]) -> dict[str, Array]:
        """Outputs of all requests."""
        replies: dict[str, Array] = {}
        for request in requests:
            with _naming(request):
                self._feeds(request)
        for each in rounds(requests, self._signatures):
            try:
                outputs = self._session.run(
                    {name: self._signatures[name].outputs for name in each.signatures}, each.feeds
                )
            except Exception as error:
                for request in each.requests:
                    with _naming(request):
                        self._session.run(self._signatures[request.signature].outputs, self._feeds(request))
                names = ", ".join(each.signatures)
                raise VerificationError(f"the signatures {names} at once: {one_line(error)}") from error
            for request in each.requests:
                of_request = outputs[request.signature]
                replies |= {array_key("session", request.name, name): value for name, value in of_request.items()}
        return replies

    def _feeds(self, request: Request) -> dict[str, Array]:
        inputs = self._signatures[request.signature].inputs
        return {inputs[name]: value for name, value in request.inputs.items()}


def answer_object(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs through `tf.saved_model.load`, of the graph as it was written."""
    return ObjectVersion(version_dir).answer(requests)


def answer_session(version_dir: str, requests: Sequence[Request]) -> dict[str, Array]:
    """Outputs through the session-based loader."""
    return SessionVersion(version_dir).answer(requests)


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
    told = sys.stdin.readline()
    if not told:
        return  # the version came to nothing
    version_dir = json.loads(told)["version_dir"]
    loaded = LoadedTwice(version_dir)
    told = sys.stdin.readline()
    if not told:
        return
    files = json.loads(told)
    warmup, requests = read_warmup(Path(version_dir)), read_requests(Path(files["requests"]))
    replies = loaded.answer([*warmup, *requests])
    wanted = tuple(array_key(loader, request.name, "") for loader in LOADERS for request in requests)
    write_replies(Path(files["replies"]), {key: value for key, value in replies.items() if key.startswith(wanted)})


def _environment() -> dict[str, str]:
    """This process's environment, quiet, with this package importable from wherever the program runs."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": path}


if __name__ == "__main__":
    main()
