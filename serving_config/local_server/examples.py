"""`Regress` and `Classify`: lists of `tf.Example` in, perhaps with a context they share; numbers, or classes, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from maf_serving.codes import Code
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.predict import DEFAULT_SIGNATURE, fill_model_spec

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array, Servable

REGRESS_METHOD_NAME = "tensorflow/serving/regress"
_REGRESS_INPUTS, _OUTPUTS = "inputs", "outputs"
CLASSIFY_METHOD_NAME = "tensorflow/serving/classify"
_CLASSIFY_INPUTS, _CLASSES, _SCORES = "inputs", "classes", "scores"


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
