"""The gRPC services of TensorFlow Serving, on the real protocol messages and stubs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from maf_serving.codes import Code
from serving_config.local_server.errors import RequestError

if TYPE_CHECKING:
    from serving_config.local_server.apis import Apis
    from serving_config.local_server.unread_calls import UnreadCalls

_FOREVER = 1e7  # seconds: a call without a deadline has one in the far future
_LONGEST = 7000  # bytes of a message: it travels in a header, and clients take 8 KiB of headers by default
_ESCAPED = re.compile(rb"[^ -$&-~]")  # sent as %XX
_STATUS = {code.value[0]: code for code in grpc.StatusCode}


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """`tensorflow.serving.PredictionService`."""

    def __init__(self, apis: Apis, unread: UnreadCalls) -> None:
        self._apis = apis
        self._unread = unread

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return self._measured(self._apis.predict, "Predict", request.model_spec.name, request, context)

    def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return self._measured(self._apis.regress, "Regress", request.model_spec.name, request, context)

    def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return self._measured(self._apis.classify, "Classify", request.model_spec.name, request, context)

    def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        model = request.tasks[0].model_spec.name if request.tasks else ""
        return self._measured(self._apis.multi_inference, "MultiInference", model, request, context)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return _answer(self._apis.model_metadata, request, context, self._unread)

    def _measured(self, answer: Callable[..., Any], api: str, model: str, request: Any, context: Any) -> Any:
        def measured(request: Any, timeout: float | None) -> Any:
            with self._apis.measured(model, api, "GRPC"):
                return answer(request, timeout)

        return _answer(measured, request, context, self._unread)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """`tensorflow.serving.ModelService`."""

    def __init__(self, apis: Apis, unread: UnreadCalls) -> None:
        self._apis = apis
        self._unread = unread

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return _answer(self._apis.model_status, request, context, self._unread)

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return _answer(self._apis.reload_config, request, context, self._unread)


def _answer(answer: Callable[[Any, float | None], Any], request: Any, context: Any, unread: UnreadCalls) -> Any:
    """Runs `answer` until the client's deadline; an error becomes the call's status."""
    try:
        response = answer(request, _timeout(context))
    except RequestError as error:
        code, message = error.code, error.message
    except Exception as error:  # noqa: BLE001  # whatever one request causes is that request's answer
        code, message = Code.INTERNAL, f"{type(error).__name__}: {error}"
    else:
        unread.watch(context)
        return response
    context.abort(_STATUS[int(code)], _fitting(message))
    return None


def _fitting(message: str) -> str:
    """As much of a message as clients take."""
    encoded = message.encode("utf-8", "replace")
    if len(encoded) + 2 * len(_ESCAPED.findall(encoded)) <= _LONGEST:
        return encoded.decode()
    return encoded[: _LONGEST // 3].decode("utf-8", "ignore") + "..."


def _timeout(context: Any) -> float | None:
    """Seconds to the client's deadline; `None` without one."""
    remaining: float | None = context.time_remaining()
    return None if remaining is None or remaining > _FOREVER else max(remaining, 0.001)
