"""`Predict`: named tensors in, named tensors out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tensorflow_serving.apis import predict_pb2

from maf_serving.codes import Code
from serving_config.local_server import tensors
from serving_config.local_server.errors import RequestError, invalid_argument

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array, Servable

DEFAULT_SIGNATURE = "serving_default"


def predict(servable: Servable, request: Any, timeout: float | None = None) -> Any:
    """Answers a `PredictRequest` with a `PredictResponse`.

    Raises:
      RequestError: as a real server would answer.
    """
    name, signature = predict_signature(servable, request.model_spec.signature_name)
    check_inputs(signature, request.inputs)
    inputs = {alias: tensors.from_proto(alias, request.inputs[alias]) for alias in sorted(request.inputs)}
    response = predict_pb2.PredictResponse()
    for alias, value in run_signature(servable, signature, inputs, request.output_filter, timeout).items():
        response.outputs[alias].CopyFrom(tensors.to_proto(value))
    fill_model_spec(response.model_spec, servable, name)
    return response


def predict_signature(servable: Servable, requested: str) -> tuple[str, Any]:
    """The signature's name and `SignatureDef`; no name is the default one. Raises `RequestError`."""
    name = requested or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise RequestError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return name, servable.signatures[name]


def check_inputs(signature: Any, given: Collection[str]) -> None:
    """Raises `RequestError` unless `given` names the signature's inputs; those with defaults may be left out."""
    expected, sent = sorted(signature.inputs), sorted(given)
    defaults = sorted(signature.defaults)
    missing = [name for name in expected if name not in sent and name not in defaults]
    extra = [name for name in sent if name not in expected]
    if len(sent) > len(expected) or len(sent) < len(expected) - len(defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} len({_set(sent)}) != "
            f"len({_set(expected)}). Sent extra: {_set(extra)}. Missing but required: {_set(missing)}."
        )
    if missing:
        raise invalid_argument(
            f"Signature input alias: {missing[0]}(feed name: {signature.inputs[missing[0]].name}) not found in request "
            f"and no default value provided. Inputs expected to be in the request {_set(sent)}, or default input alias "
            f"set: {','.join(defaults)}"
        )
    if extra:
        raise invalid_argument(f"Sent extra inputs: {_set(extra)}. Inputs of the signature: {_set(expected)}.")


def run_signature(
    servable: Servable,
    signature: Any,
    inputs: Mapping[str, Array],
    output_filter: Iterable[str] = (),
    timeout: float | None = None,
) -> dict[str, Array]:
    """The signature's outputs by name, or those of `output_filter` alone. Raises `RequestError`."""
    wanted = _outputs(signature, output_filter)
    feeds = {signature.inputs[alias].name: value for alias, value in inputs.items()}
    for alias in sorted(signature.defaults):
        if alias not in inputs:
            feeds[signature.inputs[alias].name] = tensors.from_proto(alias, signature.defaults[alias])
    values = servable.run("Predict", feeds, [signature.outputs[alias].name for alias in wanted], timeout)
    return dict(zip(wanted, values, strict=True))


def fill_model_spec(spec: Any, servable: Servable, signature_name: str) -> None:
    """Says in a response who has answered."""
    spec.name = servable.model
    spec.version.value = servable.version
    spec.signature_name = signature_name


def _outputs(signature: Any, output_filter: Iterable[str]) -> list[str]:
    wanted = list(output_filter)
    if not wanted:
        return sorted(signature.outputs)
    for position, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_set(sorted(signature.outputs))}."
            )
        if alias in wanted[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return wanted


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(names) + "}"
