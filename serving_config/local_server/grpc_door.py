"""The gRPC server: services, limits, TLS, a graceful end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving_config.errors import StartError
from serving_config.local_server.grpc_services import ModelService, PredictionService
from serving_config.local_server.unread_calls import CallLimits, UnreadCalls

if TYPE_CHECKING:
    from serving_config.local_server.apis import Apis
    from serving_config.local_server.tls import TlsConfig

LARGEST_MESSAGE = 2**31 - 1  # bytes, as TF Serving has it
_WAITING = 1000  # calls that may wait for a thread; more are told RESOURCE_EXHAUSTED
_HEALTH_NAMES = ("", "ModelService", "PredictionService")


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
