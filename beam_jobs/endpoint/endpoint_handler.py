"""A signature on a model server as a model of Beam's `RunInference`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from apache_beam.ml.inference.base import PredictionResult, RemoteModelHandler

from beam_jobs.endpoint.predict_client import PredictClient, shape_of
from beam_jobs.endpoint.row_rate import RowRate
from beam_jobs.errors import EndpointBusyError, EndpointError, UsageError
from maf_serving.model_inputs import count_bytes, encode_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from beam_jobs.options.endpoint_options import EndpointOptions
    from export.contract import Signature, TensorSpec
    from maf_serving.model_inputs import ModelRows

    Arrays = Mapping[str, npt.NDArray[Any]]


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
    shape = shape_of(spec, 1)
    return np.full(shape, b"", object) if spec.dtype == "string" else np.zeros(shape, spec.dtype)
