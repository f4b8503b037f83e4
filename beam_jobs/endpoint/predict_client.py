"""A model's signatures on a TensorFlow Serving, asked over gRPC for what the model's contract says."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_jobs.errors import EndpointBusyError, EndpointError
from beam_jobs.remote_files import read_file, reported_as
from maf_serving.errors import RetriableError, ServingError
from maf_serving.model_spec import ModelSpec
from maf_serving.predict_channel import PredictChannel
from maf_serving.row_limit import RowLimit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from beam_jobs.options.endpoint_options import EndpointOptions
    from export.contract import Signature, TensorSpec

    Arrays = Mapping[str, npt.NDArray[Any]]


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
            return {name: np.empty(shape_of(spec, 0), spec.dtype) for name, spec in signature.outputs.items()}
        return {name: np.concatenate([part[name] for part in parts]) for name in signature.outputs}

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _check(self, answer: Arrays, outputs: Mapping[str, TensorSpec], rows: int) -> None:
        expected = {name: (spec.dtype, shape_of(spec, rows)) for name, spec in outputs.items()}
        got = {name: (array.dtype.name, array.shape) for name, array in answer.items()}
        if got != expected:
            raise EndpointError(
                f"--grpc_target {self._endpoint.target} answered {_describe(got)}; "
                f"the contract of --model says {_describe(expected)}"
            )


def shape_of(spec: TensorSpec, rows: int) -> tuple[int, ...]:
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
    with reported_as(f"--endpoint_{name} {path} cannot be read"):
        return read_file(path)


def _describe(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in sorted(tensors.items())) or "nothing"
