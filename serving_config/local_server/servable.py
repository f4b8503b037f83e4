"""One loaded version of a model: a session, and the signatures it answers."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session  # no public name makes a buffer of run options

from maf_serving.codes import Code
from serving_config.local_server.errors import RequestError, invalid_argument

if TYPE_CHECKING:
    from maf_serving.model_inputs import Array


class Runner(Protocol):
    """What computes outputs from inputs: the session itself, or the batches in front of it."""

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout: float | None) -> list[Array]:
        """Values of the tensors `fetches`, given those of `feeds`, within `timeout` seconds.

        Raises:
          RequestError: with TensorFlow's own code and message.
        """


class SessionRunner:
    """Runs a session that other threads use at the same time.

    It calls TensorFlow's C interface past `Session.run`, which would refuse shapes that differ from the signature and
    convert dtypes in silence; TensorFlow Serving does neither.
    """

    def __init__(self, session: tf.compat.v1.Session) -> None:
        self._session = session
        self._outputs: dict[str, Any] = {}
        session._extend_graph()

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout: float | None) -> list[Array]:
        """See `Runner.run`."""
        options = None
        if timeout is not None:
            milliseconds = max(math.ceil(min(timeout, 1e9) * 1000), 1)
            serialized = tf.compat.v1.RunOptions(timeout_in_ms=milliseconds).SerializeToString()
            options = pywrap_tf_session.TF_NewBufferFromString(serialized)
        try:
            values: list[Array] = self._session._call_tf_sessionrun(
                options,
                {self._output(name): value for name, value in feeds.items()},
                [self._output(name) for name in fetches],
                [],
                None,
            )
        except tf.errors.OpError as error:
            raise RequestError(Code(error.error_code), error.message) from error
        except UnicodeDecodeError as error:
            # TensorFlow's message holds bytes of the request that are no text, and its binding decodes it strictly, so
            # that the code is lost. What quotes a request complains of it.
            raise invalid_argument(error.object.decode("utf-8", "replace")) from error
        finally:
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)
        return [np.asarray(value) for value in values]

    def _output(self, name: str) -> Any:
        if name not in self._outputs:
            try:
                self._outputs[name] = self._session.graph.get_tensor_by_name(name)._as_tf_output()
            except (KeyError, ValueError) as error:
                raise RequestError(Code.NOT_FOUND, f"{name} is no tensor of the graph") from error
        return self._outputs[name]


class Servable:
    """A version that can answer.

    Attributes:
      model: the model's name.
      version: its number.
      signatures: `SignatureDef` by name, as in the SavedModel.
      runner: computes; whoever batches puts its own in front.
    """

    def __init__(
        self,
        *,
        model: str,
        version: int,
        session: tf.compat.v1.Session,
        signatures: Mapping[str, Any],
        observe: Callable[[str, float], None],
    ) -> None:
        """Takes over the session.

        Args:
          model: the model's name.
          version: its number.
          session: with the graph and the variables loaded.
          signatures: by name.
          observe: is told the API and the seconds of each run.
        """
        self.model = model
        self.version = version
        self.signatures = dict(signatures)
        self.runner: Runner = SessionRunner(session)
        self._observe = observe
        self._session: tf.compat.v1.Session | None = session

    def run(self, api: str, feeds: Mapping[str, Array], fetches: Sequence[str], timeout: float | None) -> list[Array]:
        """Values of the tensors `fetches`, for the API named. Raises `RequestError`."""
        started = time.perf_counter()
        values = self.runner.run(feeds, fetches, timeout)
        self._observe(api, time.perf_counter() - started)
        return values

    def close(self) -> None:
        """Frees what the version holds; the caller has seen to it that no request uses it."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            del session, self.runner
            self.signatures = {}
            gc.collect()  # a graph is full of cycles, and large; versions come and go faster than the collector runs
