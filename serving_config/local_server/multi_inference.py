"""`MultiInference`: regressions and classifications of the same examples, in one run of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tensorflow_serving.apis import inference_pb2

from maf_serving.codes import Code
from serving_config.local_server import classify, regress
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.example_input import serialized_examples
from serving_config.local_server.predict import DEFAULT_SIGNATURE, fill_model_spec

if TYPE_CHECKING:
    from serving_config.local_server.servable import Servable

_TENSORS: dict[str, Callable[[Any], tuple[str, list[str]]]] = {
    regress.METHOD_NAME: regress.regression_tensors,
    classify.METHOD_NAME: classify.classification_tensors,
}


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
        if method == regress.METHOD_NAME:
            regress.fill_regressions(result.regression_result, values[fetches[0]], len(examples))
        else:
            signature = servable.signatures[name]
            classify.fill_classifications(result.classification_result, signature, values, len(examples))
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
