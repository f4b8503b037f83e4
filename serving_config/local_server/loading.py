"""Loads a version as TensorFlow Serving does: graph, variables and init op in a session, then the warm-up records.

A warm-up record that fails keeps a version from loading. So do functions that only XLA may run (`jit_compile=True`),
unless the server is told to compile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from maf_serving.codes import Code
from serving_config.errors import UsageError
from serving_config.local_server.apis import classify, multi_inference, regress
from serving_config.local_server.batching import BatchingRunner
from serving_config.local_server.errors import RequestError
from serving_config.local_server.predict import predict
from serving_config.local_server.servable import Runner, Servable

if TYPE_CHECKING:
    from maf_serving.batching import BatchingParameters
    from maf_serving.model_inputs import Array

WARMUP_PATH = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000
_TAG = "serve"
_MUST_COMPILE = "_XlaMustCompile"


def replay_warmup(servable: Servable, version_dir: Path) -> None:
    """Answers every record of the version, if it has any.

    Raises:
      RequestError: if a record is damaged or fails, or if there are too many.
    """
    path = version_dir / WARMUP_PATH
    if not path.exists():
        return
    try:
        for number, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):
            if number == MOST_RECORDS:
                raise RequestError(
                    Code.INVALID_ARGUMENT, f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}"
                )
            _replay(servable, prediction_log_pb2.PredictionLog.FromString(record))
    except DecodeError as error:
        raise RequestError(Code.DATA_LOSS, f"Failed to parse warmup record: {path}") from error
    except tf.errors.OpError as error:
        message = f"Error reading warmup records at {path}: {error.message}"
        raise RequestError(Code(error.error_code), message) from error


def _replay(servable: Servable, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        predict(servable, log.predict_log.request)
    elif kind == "regress_log":
        regress(servable, log.regress_log.request)
    elif kind == "classify_log":
        classify(servable, log.classify_log.request)
    elif kind == "multi_inference_log":
        multi_inference(servable, log.multi_inference_log.request)
    else:
        raise RequestError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionThreads:
    """Sizes of TensorFlow's thread pools; 0 leaves one to TensorFlow.

    Attributes:
      session: `--tensorflow_session_parallelism`, for both pools.
      intra_op: threads inside one operation.
      inter_op: operations that run at the same time.
    """

    session: int = 0
    intra_op: int = 0
    inter_op: int = 0

    def __post_init__(self) -> None:
        if min(self.session, self.intra_op, self.inter_op) < 0:
            raise UsageError(
                "--tensorflow_..._parallelism is negative; expected 0, which leaves it to TensorFlow, or more"
            )
        if self.session and (self.intra_op or self.inter_op):
            raise UsageError(
                "--tensorflow_session_parallelism excludes --tensorflow_intra_op_parallelism and "
                "--tensorflow_inter_op_parallelism; expected either the first or the other two"
            )

    def session_config(self) -> Any:
        """As TensorFlow wants it."""
        return tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=self.session or self.intra_op,
            inter_op_parallelism_threads=self.session or self.inter_op,
            allow_soft_placement=True,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How every version is loaded.

    Attributes:
      threads: TensorFlow's thread pools.
      batching: the parameters for a version directory, or `None` for a version whose requests run alone.
      warm_up: is called with every new servable and its directory.
      xla: whether functions that need a compilation (`jit_compile=True`) are run or refused.
    """

    threads: SessionThreads = dataclasses.field(default_factory=SessionThreads)
    batching: Callable[[Path], BatchingParameters | None] = lambda _path: None
    warm_up: Callable[[Servable, Path], None] = replay_warmup
    xla: Literal["refuse", "compile"] = "refuse"


def load_servable(
    model: str, version: int, path: Path, options: LoadOptions, observe: Callable[[str, float], None]
) -> Servable:
    """A version that answers, warmed up; `observe` is told the API and the seconds of each run.

    Raises:
      RequestError: with the code and message that the version's status will show.
    """
    if not any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise RequestError(
            Code.NOT_FOUND, f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}"
        )
    session = tf.compat.v1.Session(graph=tf.Graph(), config=options.threads.session_config())
    try:
        batching = options.batching(path)
        meta_graph = _load(path, session)
        servable = Servable(
            model=model, version=version, session=session, signatures=meta_graph.signature_def, observe=observe
        )
        if options.xla == "refuse":
            compiled = compiled_tensors(session.graph, _outputs(meta_graph))
            servable.runner = XlaRefusingRunner(servable.runner, compiled) if compiled else servable.runner
        if batching is not None:
            servable.runner = BatchingRunner(servable.runner, batching)
        options.warm_up(servable, path)
    except UsageError as error:  # of the version's own batching parameters
        session.close()
        raise RequestError(Code.INVALID_ARGUMENT, str(error)) from error
    except BaseException:
        session.close()
        raise
    return servable


def _outputs(meta_graph: Any) -> list[str]:
    """Tensors that signatures answer; an initialiser's output is an operation."""
    signatures = meta_graph.signature_def.values()
    names = {info.name for signature in signatures for info in signature.outputs.values()}
    return sorted(name for name in names if ":" in name)


def _load(path: Path, session: tf.compat.v1.Session) -> Any:
    try:
        with session.graph.as_default():
            return tf.compat.v1.saved_model.load(session, [_TAG], str(path))
    except tf.errors.OpError as error:
        raise RequestError(Code(error.error_code), _one_line(error.message)) from error
    except DecodeError as error:
        raise RequestError(Code.DATA_LOSS, f"Can't parse {path / 'saved_model.pb'} as binary proto") from error
    except Exception as error:  # whatever a damaged graph makes the loader raise is this version's failure, not ours
        code = Code.NOT_FOUND if isinstance(error, RuntimeError) and "tags" in str(error) else Code.INVALID_ARGUMENT
        raise RequestError(code, f"cannot load {path}: {_one_line(str(error)) or type(error).__name__}") from error


def _one_line(text: str) -> str:
    return " ".join(text.split())


class XlaRefusingRunner:
    """Refuses to compute what needs a compilation, as a server without `--xla_cpu_compilation_enabled` does."""

    def __init__(self, runner: Runner, tensors: frozenset[str]) -> None:
        """Puts itself in front of `runner`, for the tensors that need a compilation."""
        self._runner = runner
        self._tensors = tensors

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout: float | None) -> list[Array]:
        """See `Runner.run`."""
        if not self._tensors.isdisjoint(fetches):
            raise RequestError(Code.INTERNAL, "XLA compilation disabled")
        return self._runner.run(feeds, fetches, timeout)


def compiled_tensors(graph: tf.Graph, names: Sequence[str]) -> frozenset[str]:
    """Those of the tensors `names` that cannot be computed without a compilation."""
    library = {function.signature.name: function for function in graph.as_graph_def().library.function}
    compiled = _compiled_functions(library)
    if not compiled:
        return frozenset()
    return frozenset(
        name
        for name in names
        if any(
            _must_compile(operation.node_def.attr) or not compiled.isdisjoint(_called(operation.node_def))
            for operation in _ancestors(graph.get_tensor_by_name(name).op)
        )
    )


def _compiled_functions(library: Mapping[str, Any]) -> set[str]:
    """Functions that must be compiled, and those that call one."""
    compiled = {name for name, function in library.items() if _must_compile(function.attr)}
    while more := {
        name
        for name, function in library.items()
        if name not in compiled and any(not compiled.isdisjoint(_called(node)) for node in function.node_def)
    }:
        compiled |= more
    return compiled


def _called(node: Any) -> set[str]:
    """The functions that a node calls, by name."""
    values = node.attr.values()
    return {
        node.op,
        *(value.func.name for value in values),
        *(function.name for value in values for function in value.list.func),
    }


def _must_compile(attributes: Any) -> bool:
    return _MUST_COMPILE in attributes and bool(attributes[_MUST_COMPILE].b)


def _ancestors(operation: Any) -> Iterator[Any]:
    """The operation, and all that it needs."""
    seen, waiting = {operation}, [operation]
    while waiting:
        each = waiting.pop()
        yield each
        new = {*(tensor.op for tensor in each.inputs), *each.control_inputs} - seen
        seen |= new
        waiting += new
