"""The gRPC server: TensorFlow Serving's services on the real messages and stubs, limits, TLS, a graceful end.

gRPC holds an answer that nobody takes for as long as the client answers pings; here it is held for a limited time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from maf_serving.codes import Code
from serving_config.errors import StartError
from serving_config.local_server.errors import RequestError

if TYPE_CHECKING:
    from serving_config.local_server.apis import Apis
    from serving_config.local_server.tls import TlsConfig

LARGEST_MESSAGE = 2**31 - 1  # bytes, as TF Serving has it
_WAITING = 1000  # calls that may wait for a thread; more are told RESOURCE_EXHAUSTED
_HEALTH_NAMES = ("", "ModelService", "PredictionService")
_FOREVER = 1e7  # seconds: a call without a deadline has one in the far future
_LONGEST = 7000  # bytes of a message: it travels in a header, and clients take 8 KiB of headers by default
_ESCAPED = re.compile(rb"[^ -$&-~]")  # sent as %XX
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_CHECKS = 10  # in the time that an answer may wait


class GrpcDoor:
    """A gRPC server on one port."""

    def __init__(
        self,
        apis: Apis,
        *,
        threads: int,
        health_checks: bool,
        tls: TlsConfig | None,
        limits: CallLimits | None = None,
    ) -> None:
        limits = limits or CallLimits()
        self._pool = futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._pool,
            options=[
                ("grpc.max_receive_message_length", LARGEST_MESSAGE),
                ("grpc.max_send_message_length", LARGEST_MESSAGE),
                ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server that takes half the calls
                ("grpc.max_metadata_size", 64 * 1024),
                # A client that does not read does not answer pings either. One that does may still take nothing of
                # an answer: that is what `UnreadCalls` ends.
                ("grpc.keepalive_time_ms", round(limits.ping_after * 1000)),
                ("grpc.keepalive_timeout_ms", round(limits.ping * 1000)),
                # Any other ping that is under way stands in for it, with a time of its own: a minute.
                ("grpc.http2.ping_timeout_ms", round(limits.ping * 1000)),
            ],
            maximum_concurrent_rpcs=threads + _WAITING,
        )
        self._tls = tls
        self._unread = UnreadCalls(limits.answer)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(apis, self._unread), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(apis, self._unread), self._server)
        self._health = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._pool)
        if health_checks:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def start(self, host: str, port: int) -> int:
        """Listens, and returns the port: the one asked for, or a free one for 0.

        Raises:
          StartError: if the port is taken.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._tls is None:
                bound: int = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, self._tls.grpc_credentials())
        except RuntimeError as error:
            raise StartError(
                f"cannot listen for gRPC on {address}: the port is in use, or the address is not this machine's; name "
                "another with --port"
            ) from error
        self._server.start()
        self._unread.start()
        self._say(health_pb2.HealthCheckResponse.SERVING)
        return bound

    def stop(self, grace: float) -> None:
        """Takes no new call, and returns when those under way are done, after `grace` seconds at the latest."""
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.stop(grace).wait()
        self._unread.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _say(self, status: Any) -> None:
        for name in _names():
            self._health.set(name, status)


def _names() -> Iterator[str]:
    """The names of the real server, and the services' own."""
    yield from _HEALTH_NAMES
    yield "tensorflow.serving.ModelService"
    yield "tensorflow.serving.PredictionService"


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """What calls may cost beyond their answer.

    Attributes:
      ping_after: seconds without a word from a client with calls under way after which it is asked for a sign of life.
      ping: seconds in which it must give one; without, its calls and its connection end.
      answer: seconds in which a client must have taken all of an answer.
    """

    ping_after: float = 30.0
    ping: float = 30.0
    answer: float = 300.0


class UnreadCalls:
    """Ends calls whose answer has not been taken in `seconds`; a thread looks for them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answered: dict[Any, float] = {}  # oldest first
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="unread-calls", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def watch(self, context: Any) -> None:
        """The call of this `ServicerContext` is about to be answered."""
        with self._lock:
            self._answered[context] = time.monotonic()
        if not context.add_callback(lambda: self._forget(context)):  # it has ended by now
            self._forget(context)

    def _forget(self, context: Any) -> None:
        with self._lock:
            self._answered.pop(context, None)

    def _look(self) -> None:
        while not self._stopped.wait(self._seconds / _CHECKS):
            self._end_before(time.monotonic() - self._seconds)

    def _end_before(self, answered: float) -> None:
        with self._lock:
            unread = []
            for context, when in self._answered.items():
                if when > answered:
                    break
                unread.append(context)
            for context in unread:
                del self._answered[context]
        for context in unread:
            with contextlib.suppress(Exception):  # one that ends at this moment
                context.cancel()
