"""Requests over REST in the column format, with `NaN` and `Infinity` in the JSON as TensorFlow Serving has them."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import numpy as np
import urllib3

from maf_serving.tensor_proto import DTYPE_NAMES
from serving_config.client.transport import Arrays, ModelMetadata, SignatureInfo, TensorInfo, VersionStatus
from serving_config.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ModelNotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ResponseError,
    ServerError,
    ServingError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maf_serving.model_inputs import Array
    from maf_serving.model_spec import ModelSpec
    from maf_serving.tls import Tls

_ERRORS: dict[int, type[ServingError]] = {
    401: PermissionDeniedError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: DeadlineExceededError,
    429: ResourceExhaustedError,
    502: UnavailableError,
    503: UnavailableError,
    504: DeadlineExceededError,
}
# By field of `Tls`, the argument of urllib3.
_TLS_NAMES = {"root_certificates": "ca_certs", "client_certificate": "cert_file", "client_key": "key_file"}
_SHOWN = 300  # characters of an answer that is no JSON


class RestTransport:
    """Connections to `http://host:port` or `https://host:port`, with or without a path before `/v1`."""

    def __init__(self, rest_url: str, *, tls: Tls | None = None, connections: int = 4) -> None:
        parts = urlsplit(rest_url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise UsageError(f"rest_url is {rest_url!r}; expected such as http://localhost:8501")
        if tls is not None and parts.scheme != "https":
            raise UsageError(f"rest_url is {rest_url!r}, and TLS files are given; expected an https:// URL with them")
        self._base = rest_url.rstrip("/").removesuffix("/v1")
        files: dict[str, Any] = {}
        if tls is not None:
            files = {_TLS_NAMES[name]: path for name, path in tls.files().items()}
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False, **files)

    def predict(
        self,
        model: ModelSpec,
        signature_name: str,
        signature: SignatureInfo,
        inputs: Mapping[str, Array],
        *,
        timeout: float,
    ) -> Arrays:
        """See `Transport`."""
        columns = {name: array.tolist() for name, array in inputs.items()}
        body = json.dumps({"signature_name": signature_name, "inputs": columns}, default=_json_text).encode()
        answer = self._call("POST", f"{_model_path(model)}:predict", body, timeout)
        outputs = member(answer, "outputs")
        if not isinstance(outputs, dict):
            outputs = {signature.only_output(): outputs}
        if set(outputs) != set(signature.outputs):
            raise ResponseError(
                f"{self._base} answered the outputs {', '.join(sorted(outputs)) or 'none'}; "
                f"expected {', '.join(sorted(signature.outputs))}"
            )
        return {name: read_array(name, value, signature.outputs[name]) for name, value in outputs.items()}

    def model_status(self, model: ModelSpec, *, timeout: float) -> list[VersionStatus]:
        """See `Transport`."""
        answer = self._call("GET", _model_path(model), None, timeout)
        with understanding(answer):
            return [
                VersionStatus(
                    version=int(member(each, "version")),
                    state=str(member(each, "state")),
                    error_code=str(member(member(each, "status"), "error_code")),
                    error_message=str(member(member(each, "status"), "error_message")),
                )
                for each in member(answer, "model_version_status")
            ]

    def metadata(self, model: ModelSpec, *, timeout: float) -> ModelMetadata:
        """See `Transport`."""
        answer = self._call("GET", f"{_model_path(model)}/metadata", None, timeout)
        with understanding(answer):
            spec = member(answer, "model_spec")
            signatures = member(member(member(answer, "metadata"), "signature_def"), "signature_def")
            return ModelMetadata(
                name=str(member(spec, "name")),
                version=int(member(spec, "version")),
                signatures={name: read_signature(value) for name, value in signatures.items()},
            )

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def _call(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            response = self._pool.request(
                method, self._base + path, body=body, headers=headers, timeout=timeout, redirect=False
            )
        except urllib3.exceptions.SSLError as error:
            raise PermissionDeniedError(f"{self._base}: TLS failed: {error}") from error
        except (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError) as error:
            raise UnavailableError(f"{self._base} cannot be reached: {_reason(error)}") from error
        except urllib3.exceptions.TimeoutError as error:
            raise DeadlineExceededError(f"{self._base} gave no answer in {timeout:g} s") from error
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(f"{self._base}: the connection broke: {error}") from error
        return self._read(path, response)

    def _read(self, path: str, response: urllib3.BaseHTTPResponse) -> Any:
        text = response.data.decode("utf-8", errors="replace")
        try:
            answer = json.loads(text)
        except json.JSONDecodeError:
            answer = None
        if response.status != 200:
            told = answer.get("error") if isinstance(answer, dict) else None
            # TensorFlow Serving's refusals are JSON; a page of HTML comes from another server, or for another path.
            message = told if told is not None else f"{path} is not there, or this is no TensorFlow Serving"
            kind = _ERRORS.get(response.status, InvalidArgumentError if response.status < 500 else ServerError)
            raise kind(f"{self._base}: HTTP {response.status}: {message}")
        if answer is None:
            raise ResponseError(f"{self._base}{path} answered no JSON but {text[:_SHOWN]!r}")
        return answer


def _json_text(value: bytes) -> str | dict[str, str]:
    """A text, or bytes that are none, as JSON has them."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _reason(error: Exception) -> str:
    """The end of urllib3's message, without its own objects before it."""
    return str(error).rpartition(": ")[2]


def _model_path(model: ModelSpec) -> str:
    path = f"/v1/models/{quote(model.name, safe='')}"
    if model.version is not None:
        return f"{path}/versions/{model.version}"
    return path if model.version_label is None else f"{path}/labels/{quote(model.version_label, safe='')}"


@contextlib.contextmanager
def understanding(answer: Any) -> Iterator[None]:
    """Raises `ResponseError` where the answer holds something else than it should."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        raise ResponseError(f"the answer is not TensorFlow Serving's: {str(answer)[:_SHOWN]!r}") from error


def member(value: Any, name: str) -> Any:
    """What an object has under a name. Raises `ResponseError` if it has nothing there."""
    if not isinstance(value, dict) or name not in value:
        raise ResponseError(f"the answer has no {name!r} where TensorFlow Serving's has it")
    return value[name]


def read_array(name: str, value: Any, info: TensorInfo) -> Array:
    """An output as an array of its type. Raises `ResponseError` if it is none."""
    try:
        array = np.array(value, dtype=info.dtype)
    except (TypeError, ValueError) as error:
        raise ResponseError(f"output {name} is no array of {info.dtype}: {error}") from error
    return array


def read_signature(value: Any) -> SignatureInfo:
    """A `SignatureDef` of the metadata. Raises `ResponseError` if something is missing."""
    return SignatureInfo(
        _tensors(member(value, "inputs")), _tensors(member(value, "outputs")), str(member(value, "method_name"))
    )


def _tensors(infos: Any) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(
            dtype=DTYPE_NAMES.get(member(info, "dtype"), str(member(info, "dtype"))),
            shape=tuple(_size(dim) for dim in member(info, "tensor_shape").get("dim", ())),
        )
        for name, info in infos.items()
    }


def _size(dim: Any) -> int | None:
    size = int(member(dim, "size"))
    return None if size < 0 else size
