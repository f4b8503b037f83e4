"""The REST API without HTTP: method, path and body in, status and JSON out."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis import classification_pb2, get_model_status_pb2, model_pb2, regression_pb2

from maf_serving.codes import Code
from serving_config.local_server.apis import Apis, servable_for, signature_map
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.json_bodies import (
    classification_json,
    error_json,
    fill_examples,
    parse_request,
    predict_inputs,
    predict_json,
    regression_json,
)
from serving_config.local_server.predict import DEFAULT_SIGNATURE, run_signature

JSON = "application/json"
_API = re.compile(r"(?i)/v1/.*", re.DOTALL)
_VERSION = r"(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_POST = re.compile(rf"(?i)/v1/models/([^/:]+){_VERSION}:(classify|regress|predict)", re.ASCII)
_GET = re.compile(rf"(?i)/v1/models(?:/([^/:]+))?{_VERSION}(?:/(metadata))?", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """An answer of HTTP."""

    status: int
    body: bytes
    content_type: str = JSON


class RestApi:
    """Answers one request at a time; may be called from any number of threads."""

    def __init__(self, apis: Apis, *, timeout: float | None) -> None:
        """Answers with `apis`; a run of a graph may take `timeout` seconds."""
        self._apis = apis
        self._timeout = timeout

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        """The answer, an error's too."""
        try:
            target = parse_target(method, path)
            return Reply(200, _encoded(self._answer(target, body)))
        except RequestError as error:
            return error_reply(error.code.http_status, error.message)
        except UnicodeEncodeError:
            return error_reply(400, "a name in the request is no UTF-8")
        except RecursionError:
            return error_reply(400, "the request is nested too deeply")
        except Exception as error:  # noqa: BLE001  # whatever one request causes is that request's answer
            return error_reply(Code.INTERNAL.http_status, f"{type(error).__name__}: {error}")

    def _answer(self, target: Target, body: bytes) -> str:
        if target.verb == "status":
            return self._status(target)
        if target.verb == "metadata":
            return self._metadata(target)
        with self._apis.measured(target.model, target.verb, "REST"):
            if target.verb == "predict":
                return self._predict(target, body)
            return self._regress(target, body) if target.verb == "regress" else self._classify(target, body)

    def _predict(self, target: Target, body: bytes) -> str:
        document, requested = parse_request(body)
        name = requested or DEFAULT_SIGNATURE
        with servable_for(self._apis.manager, _spec(target)) as servable:
            if name not in servable.signatures:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            signature = servable.signatures[name]
            if not signature.inputs:
                raise invalid_argument(f"Failed to get input map for signature: {requested or 'DEFAULT'}")
            layout, inputs = predict_inputs(document, dict(signature.inputs))
            del document
            return predict_json(layout, run_signature(servable, signature, inputs, (), self._timeout))

    def _regress(self, target: Target, body: bytes) -> str:
        request = regression_pb2.RegressionRequest()
        target.fill(request.model_spec)
        fill_examples(request, body)
        return regression_json(self._apis.regress(request, self._timeout).result)

    def _classify(self, target: Target, body: bytes) -> str:
        request = classification_pb2.ClassificationRequest()
        target.fill(request.model_spec)
        fill_examples(request, body)
        return classification_json(self._apis.classify(request, self._timeout).result)

    def _status(self, target: Target) -> str:
        request = get_model_status_pb2.GetModelStatusRequest()
        target.fill(request.model_spec)
        return _message_json(self._apis.model_status(request, None)) + "\n"

    def _metadata(self, target: Target) -> str:
        with servable_for(self._apis.manager, _spec(target)) as servable:
            spec = model_pb2.ModelSpec(name=servable.model)
            spec.version.value = servable.version
            signatures = _message_json(signature_map(servable))
            return f'{{\n"model_spec":{_message_json(spec)}\n,\n"metadata": {{"signature_def": {signatures}\n}}\n}}\n'


def error_reply(status: int, message: str) -> Reply:
    """An error as the API tells it."""
    return Reply(status, error_json(message).encode("utf-8", "replace"))


def _encoded(text: str) -> bytes:
    """Bytes of a request that were no UTF-8 come back as they were; half a surrogate pair as a question mark."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _spec(target: Target) -> Any:
    spec = model_pb2.ModelSpec()
    target.fill(spec)
    return spec


def _message_json(message: Any) -> str:
    text: str = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=1
    )
    return text


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """What a request is for.

    Attributes:
      verb: `predict`, `regress`, `classify`, `status` or `metadata`.
      model: the model's name.
      version: its version, if the path has one.
      label: its label, if the path has one.
    """

    verb: str
    model: str
    version: int | None = None
    label: str | None = None

    def fill(self, spec: Any) -> None:
        """Puts model, version and label into a `ModelSpec`."""
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version
        if self.label is not None:
            spec.version_label = self.label


def is_api(path: str) -> bool:
    """Whether a path is one of the API's at all; any other is simply not found."""
    return _API.fullmatch(path) is not None


def parse_target(method: str, path: str) -> Target:
    """What method and path ask for.

    Raises:
      RequestError: if the API has no such thing.
    """
    match = {"POST": _POST, "GET": _GET}[method].fullmatch(path) if method in ("POST", "GET") else None
    if match is None:
        raise _malformed(method, path)
    model, version, label, verb = match.groups(default="")
    if version and int(version[:30]) >= 2**63:
        raise invalid_argument(f"Failed to convert version: {version} to numeric.")
    if not model:
        raise invalid_argument("Missing model name in request.")
    return Target(
        verb=verb.lower() or "status",
        model=_decoded(model),
        version=int(version) if version else None,
        label=_decoded(label) if label else None,
    )


def _decoded(part: str) -> str:
    return urllib.parse.unquote(part)


def _malformed(method: str, path: str) -> RequestError:
    return invalid_argument(f"Malformed request: {method} {path}")
