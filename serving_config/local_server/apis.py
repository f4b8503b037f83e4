"""The calls of TF Serving's APIs, whichever door they came through: find the version, compute, keep count."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, inference_pb2, model_management_pb2

from maf_serving.codes import Code
from serving_config.local_server import metrics
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.examples import (
    CLASSIFY_METHOD_NAME,
    REGRESS_METHOD_NAME,
    classification_tensors,
    classify,
    fill_classifications,
    fill_regressions,
    regress,
    regression_tensors,
    serialized_examples,
)
from serving_config.local_server.model_config import parse_model_configs
from serving_config.local_server.predict import DEFAULT_SIGNATURE, fill_model_spec, predict
from serving_config.local_server.servable import Servable

if TYPE_CHECKING:
    from serving_config.local_server.metrics import Metrics
    from serving_config.local_server.model_manager import ModelManager

_Answer = Callable[[Servable, Any, float | None], Any]
_TENSORS: dict[str, Callable[[Any], tuple[str, list[str]]]] = {
    REGRESS_METHOD_NAME: regression_tensors,
    CLASSIFY_METHOD_NAME: classification_tensors,
}
SIGNATURE_DEF = "signature_def"


class Apis:
    """Answers requests; every method raises `RequestError`, takes a request message and returns its response."""

    def __init__(self, manager: ModelManager, measured: Metrics) -> None:
        self.manager = manager
        self.metrics = measured

    def predict(self, request: Any, timeout: float | None) -> Any:
        """Answers a `PredictRequest`."""
        return self._answer(predict, request, request.model_spec, timeout)

    def regress(self, request: Any, timeout: float | None) -> Any:
        """Answers a `RegressionRequest`."""
        return self._answer(regress, request, request.model_spec, timeout)

    def classify(self, request: Any, timeout: float | None) -> Any:
        """Answers a `ClassificationRequest`."""
        return self._answer(classify, request, request.model_spec, timeout)

    def multi_inference(self, request: Any, timeout: float | None) -> Any:
        """Answers a `MultiInferenceRequest`; the first task says which version."""
        if not request.tasks:
            raise invalid_argument("Inference request must have at least one task.")
        return self._answer(multi_inference, request, request.tasks[0].model_spec, timeout)

    def model_metadata(self, request: Any, _timeout: float | None) -> Any:
        """Answers a `GetModelMetadataRequest`."""
        check_metadata_request(request)
        with servable_for(self.manager, request.model_spec) as servable:
            return model_metadata(servable)

    def model_status(self, request: Any, _timeout: float | None) -> Any:
        """Answers a `GetModelStatusRequest`."""
        return model_status(self.manager, request)

    def reload_config(self, request: Any, timeout: float | None) -> Any:
        """Answers a `ReloadConfigRequest` once the new models are available."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        self.manager.configure(parse_model_configs(request.config), timeout=timeout)
        return model_management_pb2.ReloadConfigResponse()

    @contextlib.contextmanager
    def measured(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts one request to `model`, by its outcome, and the time of one that succeeds."""
        started = time.perf_counter()
        code = Code.INTERNAL
        try:
            yield
            code = Code.OK
        except RequestError as error:
            code = error.code
            raise
        finally:
            self.metrics.count(metrics.REQUEST_COUNT, model_name=model, status=code.name)
            if code is Code.OK:
                seconds = time.perf_counter() - started
                self.metrics.observe(metrics.REQUEST_LATENCY, seconds, model_name=model, API=api, entrypoint=entrypoint)

    def _answer(self, answer: _Answer, request: Any, spec: Any, timeout: float | None) -> Any:
        with servable_for(self.manager, spec) as servable:
            return answer(servable, request, timeout)


def multi_inference(servable: Servable, request: Any, timeout: float | None = None) -> Any:
    """Answers a `MultiInferenceRequest` with a `MultiInferenceResponse`. Raises `RequestError`."""
    tasks: list[tuple[str, str, list[str]]] = []  # signature, method, tensors to fetch
    feeds: set[str] = set()
    for task in request.tasks:
        name = _signature_name(servable, task, [signature for signature, _, _ in tasks])
        if task.method_name not in _TENSORS:
            raise RequestError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        feed, fetches = _TENSORS[task.method_name](servable.signatures[name])
        feeds.add(feed)
        if len(feeds) > 1:
            raise invalid_argument("Input tensor must be the same for all Signatures.")
        tasks.append((name, task.method_name, fetches))
    if not tasks:
        raise invalid_argument("Inference request must have at least one task.")
    examples = serialized_examples(request.input)
    fetched = sorted({tensor for _, _, fetches in tasks for tensor in fetches})
    values = dict(zip(fetched, servable.run("MultiInference", {feeds.pop(): examples}, fetched, timeout), strict=True))
    response = inference_pb2.MultiInferenceResponse()
    for name, method, fetches in tasks:
        result = response.results.add()
        fill_model_spec(result.model_spec, servable, name)
        if method == REGRESS_METHOD_NAME:
            fill_regressions(result.regression_result, values[fetches[0]], len(examples))
        else:
            signature = servable.signatures[name]
            fill_classifications(result.classification_result, signature, values, len(examples))
    return response


def _signature_name(servable: Servable, task: Any, earlier: list[str]) -> str:
    if not task.model_spec.name:
        raise invalid_argument("Found ModelSpec with an empty model name.")
    if task.model_spec.name != servable.model:
        raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    name = task.model_spec.signature_name or DEFAULT_SIGNATURE
    if name in earlier:
        raise invalid_argument(f"Duplicate evaluation of signature: {name}")
    if name not in servable.signatures:
        raise invalid_argument(f"Requested signature not found in model graph: {name}")
    return name


def model_status(manager: ModelManager, request: Any) -> Any:
    """Answers a `GetModelStatusRequest`; a label is ignored, as the real server ignores it. Raises `RequestError`."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    version = spec.version.value if spec.HasField("version") else None
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, status in manager.statuses(spec.name, version):
        one = response.model_version_status.add(version=number, state=int(status.state))
        one.status.error_code = int(status.code)
        one.status.error_message = status.message
    return response


def check_metadata_request(request: Any) -> None:
    """Raises `RequestError` for what can be told without the model."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")


def model_metadata(servable: Servable) -> Any:
    """The `GetModelMetadataResponse` for a version."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = servable.model
    response.model_spec.version.value = servable.version
    response.metadata[SIGNATURE_DEF].Pack(signature_map(servable))
    return response


def signature_map(servable: Servable) -> Any:
    """All signatures of a version as a `SignatureDefMap`."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures


def servable_for(manager: ModelManager, spec: Any) -> AbstractContextManager[Servable]:
    """The version that `spec` names, for as long as the context is open. Raises `RequestError`."""
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    return manager.servable(
        spec.name,
        version=spec.version.value if spec.HasField("version") else None,
        label=spec.version_label if spec.HasField("version_label") else None,
    )
