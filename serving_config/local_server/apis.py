"""The calls of TF Serving's APIs, whichever door they came through: find the version, compute, keep count.

`Predict` is in `predict.py`. `Regress` and `Classify` are here: lists of `tf.Example` in, perhaps with a context that
they share; numbers, or classes, out. `MultiInference` does several of these on the same examples.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    regression_pb2,
)

from maf_serving.codes import Code
from serving_config.local_server import metrics
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.predict import DEFAULT_SIGNATURE, fill_model_spec, predict
from serving_config.local_server.servable import Servable

if TYPE_CHECKING:
    from maf_serving.model_inputs import Array
    from serving_config.local_server.metrics import Metrics
    from serving_config.local_server.model_manager import ModelManager

REGRESS_METHOD_NAME = "tensorflow/serving/regress"
_REGRESS_INPUTS, _OUTPUTS = "inputs", "outputs"
CLASSIFY_METHOD_NAME = "tensorflow/serving/classify"
_CLASSIFY_INPUTS, _CLASSES, _SCORES = "inputs", "classes", "scores"
_Answer = Callable[[Servable, Any, float | None], Any]
SIGNATURE_DEF = "signature_def"


def regress(servable: Servable, request: Any, timeout: float | None = None) -> Any:
    """Answers a `RegressionRequest` with a `RegressionResponse`. Raises `RequestError`."""
    name, signature = example_signature(servable, request.model_spec.signature_name)
    feed, fetches = regression_tensors(signature)
    examples = serialized_examples(request.input)
    values = servable.run("Regress", {feed: examples}, fetches, timeout)
    response = regression_pb2.RegressionResponse()
    fill_regressions(response.result, values[0], len(examples))
    fill_model_spec(response.model_spec, servable, name)
    return response


def example_signature(servable: Servable, requested: str) -> tuple[str, Any]:
    """The signature's name and `SignatureDef`; no name is the default one. Raises `RequestError`."""
    name = requested or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return name, servable.signatures[name]


def regression_tensors(signature: Any) -> tuple[str, list[str]]:
    """Names of the tensor to feed and of the one to fetch. Raises `RequestError`."""
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _REGRESS_INPUTS not in signature.inputs:
        raise RequestError(Code.FAILED_PRECONDITION, f"No regression inputs found in SignatureDef: {signature}")
    if _OUTPUTS not in signature.outputs:
        raise RequestError(Code.FAILED_PRECONDITION, f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs[_REGRESS_INPUTS].name, [signature.outputs[_OUTPUTS].name]


def fill_regressions(result: Any, values: Array, examples: int) -> None:
    """Puts one value for each example into a `RegressionResult`. Raises `RequestError`."""
    if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        shape = ",".join(map(str, values.shape))
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [{shape}]"
        )
    if values.shape[0] != examples:
        raise invalid_argument(f"Input batch size did not match output batch size: {examples} vs. {values.shape[0]}")
    if values.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {dtype_name(values)}")
    for value in values.ravel().tolist():
        result.regressions.add(value=value)


def dtype_name(values: Array) -> str:
    """TensorFlow's name of a dtype, such as DT_DOUBLE."""
    kind = types_pb2.DT_STRING if values.dtype.kind in "OSU" else tf.as_dtype(values.dtype).as_datatype_enum
    name: str = types_pb2.DataType.Name(kind)
    return name


def classify(servable: Servable, request: Any, timeout: float | None = None) -> Any:
    """Answers a `ClassificationRequest` with a `ClassificationResponse`. Raises `RequestError`."""
    name, signature = example_signature(servable, request.model_spec.signature_name)
    feed, fetches = classification_tensors(signature)
    examples = serialized_examples(request.input)
    values = servable.run("Classify", {feed: examples}, fetches, timeout)
    response = classification_pb2.ClassificationResponse()
    fill_classifications(response.result, signature, dict(zip(fetches, values, strict=True)), len(examples))
    fill_model_spec(response.model_spec, servable, name)
    return response


def classification_tensors(signature: Any) -> tuple[str, list[str]]:
    """Names of the tensor to feed and of those to fetch. Raises `RequestError`."""
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _CLASSIFY_INPUTS not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature}")
    fetches = [signature.outputs[name].name for name in (_CLASSES, _SCORES) if name in signature.outputs]
    if not fetches:
        raise invalid_argument(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            f"Signature was: {signature}"
        )
    return signature.inputs[_CLASSIFY_INPUTS].name, fetches


def fill_classifications(result: Any, signature: Any, values: dict[str, Array], examples: int) -> None:
    """Puts classes and scores of each example into a `ClassificationResult`. Raises `RequestError`."""
    classes = _checked(signature, values, _CLASSES, np.dtype(object), examples)
    scores = _checked(signature, values, _SCORES, np.dtype(np.float32), examples)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    present = scores if classes is None else classes
    for row in range(examples):
        into = result.classifications.add()
        for column in range(0 if present is None else present.shape[1]):
            one = into.classes.add()
            if classes is not None:
                one.label = classes[row, column].decode("utf-8", "replace")
            if scores is not None:
                one.score = scores[row, column]


def _checked(signature: Any, values: dict[str, Array], name: str, dtype: np.dtype[Any], examples: int) -> Array | None:
    if name not in signature.outputs:
        return None
    value = values[signature.outputs[name].name]
    if value.ndim != 2:
        shape = ",".join(map(str, value.shape))
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got [{shape}]")
    if value.dtype != dtype:
        expected = "DT_STRING" if name == _CLASSES else "DT_FLOAT"
        raise invalid_argument(f"Expected {name} Tensor of {expected}. Got: {dtype_name(value)}")
    if value.shape[0] != examples:
        raise invalid_argument(f"Expected {name} output batch size of {examples}. Got: {value.shape[0]}")
    return value


def serialized_examples(given: Any) -> Array:
    """Serialized `tf.Example`s `[B]` of an `Input` message.

    Raises:
      RequestError: if there are none.
    """
    kind = given.WhichOneof("kind")
    context = b""
    examples: Any = ()
    if kind == "example_list":
        examples = given.example_list.examples
    elif kind == "example_list_with_context":
        examples = given.example_list_with_context.examples
        # Two serialized messages in a row are their union.
        context = given.example_list_with_context.context.SerializeToString()
    if not examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


_TENSORS: dict[str, Callable[[Any], tuple[str, list[str]]]] = {
    REGRESS_METHOD_NAME: regression_tensors,
    CLASSIFY_METHOD_NAME: classification_tensors,
}


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
        self.manager.reload(request.config, timeout=timeout)
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
