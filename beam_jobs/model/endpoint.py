"""A signature on a model server as a model of Beam's `RunInference`, asked over gRPC.

A limit holds the rows on their way to it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from apache_beam.io.components.rate_limiter import RateLimiter
from apache_beam.ml.inference.base import PredictionResult, RemoteModelHandler

from beam_jobs.errors import EndpointBusyError, EndpointError, UsageError
from beam_jobs.storage import read_file, reported_as
from maf_serving.errors import RetriableError, ServingError
from maf_serving.model_inputs import ModelRows, count_bytes, encode_rows
from maf_serving.model_spec import ModelSpec
from maf_serving.predict_channel import PredictChannel
from maf_serving.row_limit import RowLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy.typing as npt

    from beam_jobs.options.endpoint_options import EndpointOptions
    from export.contract import Signature, TensorSpec
    from maf_serving.model_inputs import Arrays


class EndpointHandler(RemoteModelHandler):  # type: ignore[misc]  # Beam is untyped here
    """Asks a TensorFlow Serving for one signature of `ModelRows`, a batch each; before it for `encode_condition`.

    A result is what `SavedModelHandler` gives. A batch goes out in requests of at most `max_rows` rows, or as many as
    the server takes, one after the other; one without rows asks nothing, since a batching server may hang on it. Beam
    retries the batch while the server is busy or away, and sends less while many requests fail (`RemoteModelHandler`).
    Needs no TensorFlow.
    """

    def __init__(self, endpoint: EndpointOptions, *, signature_name: str, signatures: Mapping[str, Signature]) -> None:
        """See the class.

        Args:
          endpoint: the server, and the model on it.
          signature_name: which of its signatures to ask for.
          signatures: what the contract says of those that are asked for: that one, and of a model whose condition
            has raw columns, `encode_condition`.
        """
        namespace = f"Endpoint/{endpoint.model_name}/{signature_name}"
        rate = endpoint.rows_per_second
        super().__init__(
            namespace=namespace,
            num_retries=endpoint.retries,
            retry_filter=_is_busy,
            rate_limiter=None if rate is None else RowRate(rate, namespace=namespace),
        )
        self._endpoint = endpoint
        self._signature_name = signature_name
        self._signatures = dict(signatures)

    def create_client(self) -> PredictClient:
        """A channel; called once in each worker process, whose threads share it."""
        return PredictClient(self._endpoint)

    def request(
        self, batch: ModelRows, model: PredictClient, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """The answers for one batch. Raises `EndpointError` and what `PredictClient.predict` raises."""
        if inference_args:
            raise EndpointError(f"inference_args {sorted(inference_args)} came; a signature on a server takes none")
        predict = functools.partial(self._predict, model)
        batch = encode_rows(batch, predict)
        return [PredictionResult(batch, predict(self._signature_name, batch.inputs), self._endpoint.target)]

    def probe(self) -> None:
        """Asks each signature for one row of zeros, so that what cannot work is known before the job starts.

        Raises:
          UsageError: the server has no such model, version or signature, or one with other inputs or outputs.
          EndpointBusyError: it cannot be reached.
        """
        client = self.create_client()
        try:
            for name, signature in self._signatures.items():
                self._predict(client, name, {key: _zeros(spec) for key, spec in signature.inputs.items()})
        except EndpointBusyError:
            raise
        except EndpointError as error:
            raise UsageError(str(error)) from error
        finally:
            client.close()

    def _predict(self, client: PredictClient, signature_name: str, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        return client.predict(signature_name, self._signatures[signature_name], inputs)

    def should_skip_batching(self) -> bool:
        """Elements are batches."""
        return True

    def get_num_bytes(self, batch: ModelRows) -> int:
        """Bytes that go to the server; Beam would pickle the batch to find out."""
        return count_bytes(batch)

    def get_metrics_namespace(self) -> str:
        """Namespace of the metrics of `RunInference`."""
        return f"Endpoint/{self._endpoint.model_name}/{self._signature_name}"


def _is_busy(error: Exception) -> bool:
    return isinstance(error, EndpointBusyError)


def _zeros(spec: TensorSpec) -> npt.NDArray[Any]:
    """A row of zeros, or of empty text."""
    shape = spec_shape(spec, 1)
    return np.full(shape, b"", object) if spec.dtype == "string" else np.zeros(shape, spec.dtype)


class PredictClient:
    """A channel to a model server, and what its refusals have told of it; threads may share it."""

    def __init__(self, endpoint: EndpointOptions) -> None:
        """Opens it. Raises `UsageError` if a file of TLS cannot be read."""
        self._endpoint = endpoint
        self._model = ModelSpec(
            name=endpoint.model_name, version=endpoint.version, version_label=endpoint.version_label
        )
        tls = None if endpoint.tls is None else endpoint.tls.read(_read_pem)
        self._channel = PredictChannel(endpoint.target, tls=tls)
        self._limit = RowLimit(endpoint.max_rows)

    def predict(self, signature_name: str, signature: Signature, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """The outputs of a signature by name, in as many requests as the server's limit asks for; none for no rows.

        Raises:
          EndpointBusyError: the server cannot be reached or has too much to do.
          EndpointError: it refuses, or answers something else than `signature` has.
        """

        def send(part: slice) -> dict[str, npt.NDArray[Any]]:
            chunk = {name: tensor[part] for name, tensor in inputs.items()}
            answer = self._channel.predict(self._model, signature_name, chunk, timeout=self._endpoint.timeout)
            self._check(answer, signature.outputs, part.stop - part.start)
            return answer

        with _named_as_endpoint():
            parts = self._limit.in_parts(send, slice(0, len(next(iter(inputs.values())))))
        if not parts:
            return {name: np.empty(spec_shape(spec, 0), spec.dtype) for name, spec in signature.outputs.items()}
        return {name: np.concatenate([part[name] for part in parts]) for name in signature.outputs}

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _check(self, answer: Arrays, outputs: Mapping[str, TensorSpec], rows: int) -> None:
        expected = {name: (spec.dtype, spec_shape(spec, rows)) for name, spec in outputs.items()}
        got = {name: (array.dtype.name, array.shape) for name, array in answer.items()}
        if got != expected:
            raise EndpointError(
                f"--grpc_target {self._endpoint.target} answered {_describe(got)}; "
                f"the contract of --model says {_describe(expected)}"
            )


def spec_shape(spec: TensorSpec, rows: int) -> tuple[int, ...]:
    """The shape of an input or output of so many rows."""
    return (rows, *(size for size in spec.shape[1:] if size is not None))


@contextlib.contextmanager
def _named_as_endpoint() -> Iterator[None]:
    """What the server says, as an error of the job."""
    try:
        yield
    except ServingError as error:
        kind = EndpointBusyError if isinstance(error, RetriableError) else EndpointError
        raise kind(f"--grpc_target {error}") from error


def _read_pem(name: str, path: str) -> bytes:
    with reported_as(f"--{name} {path} cannot be read"):
        return read_file(path)


def _describe(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in sorted(tensors.items())) or "nothing"


class RowRate(RateLimiter):  # type: ignore[misc]  # Beam is untyped here
    """Lets so many rows a second pass, evenly; the threads of a process share it, and wait.

    Beam's other limiter, `EnvoyRateLimiter`, limits all workers together, and needs a service of its own.
    """

    def __init__(
        self,
        rows_per_second: float,
        *,
        namespace: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(namespace=namespace)
        self._rows_per_second = rows_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = -math.inf

    def allow(self, *, hits_added: int = 1) -> bool:
        """Waits until the rows asked for before have had their time; always true."""
        self.requests_counter.inc()
        with self._lock:
            now = self._clock()
            starts = max(now, self._free_at)
            self._free_at = starts + hits_added / self._rows_per_second
        if starts > now:
            self.requests_throttled.inc()
            self.throttling_signaler.signal_throttled(math.ceil(starts - now))
            self._sleep(starts - now)
        self.requests_allowed.inc()
        return True

    def __getstate__(self) -> dict[str, Any]:
        """A lock stays in its process."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
