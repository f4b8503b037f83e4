"""`Regress`: examples in, one number for each out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import regression_pb2

from maf_serving.codes import Code
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.example_input import serialized_examples
from serving_config.local_server.predict import DEFAULT_SIGNATURE, fill_model_spec

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array, Servable

METHOD_NAME = "tensorflow/serving/regress"
_INPUTS, _OUTPUTS = "inputs", "outputs"


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
    if _INPUTS not in signature.inputs:
        raise RequestError(Code.FAILED_PRECONDITION, f"No regression inputs found in SignatureDef: {signature}")
    if _OUTPUTS not in signature.outputs:
        raise RequestError(Code.FAILED_PRECONDITION, f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs[_INPUTS].name, [signature.outputs[_OUTPUTS].name]


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
