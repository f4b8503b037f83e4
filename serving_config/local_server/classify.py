"""`Classify`: examples in, classes and scores for each out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow_serving.apis import classification_pb2

from serving_config.local_server.errors import invalid_argument
from serving_config.local_server.example_input import serialized_examples
from serving_config.local_server.predict import fill_model_spec
from serving_config.local_server.regress import dtype_name, example_signature

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array, Servable

METHOD_NAME = "tensorflow/serving/classify"
_INPUTS, _CLASSES, _SCORES = "inputs", "classes", "scores"


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
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature}")
    fetches = [signature.outputs[name].name for name in (_CLASSES, _SCORES) if name in signature.outputs]
    if not fetches:
        raise invalid_argument(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            f"Signature was: {signature}"
        )
    return signature.inputs[_INPUTS].name, fetches


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
