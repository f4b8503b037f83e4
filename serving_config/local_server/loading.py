"""Loads a version as TensorFlow Serving does: graph, variables and init op in a session, then the warm-up records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tensorflow as tf
from google.protobuf.message import DecodeError

from maf_serving.codes import Code
from serving_config.errors import UsageError
from serving_config.local_server.batching import BatchingRunner
from serving_config.local_server.errors import RequestError
from serving_config.local_server.servable import Servable
from serving_config.local_server.warmup import replay_warmup
from serving_config.local_server.xla_functions import XlaRefusingRunner, compiled_tensors

if TYPE_CHECKING:
    from maf_serving.batching import BatchingParameters

_TAG = "serve"


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
