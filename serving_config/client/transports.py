"""The way to a server, by its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving_config.errors import UsageError

if TYPE_CHECKING:
    from maf_serving.tls import Tls
    from serving_config.client.transport import Transport


def open_transport(
    *, rest_url: str | None, grpc_target: str | None, tls: Tls | None = None, connections: int = 4
) -> Transport:
    """Connections to the one address that is given. Raises `UsageError` for none or both."""
    if (rest_url is None) == (grpc_target is None):
        raise UsageError(
            f"rest_url is {rest_url!r} and grpc_target is {grpc_target!r}; expected one of them, such as "
            "http://localhost:8501 or localhost:8500"
        )
    if tls is not None:
        tls.check_files()
    # Each library is loaded only where it is used: gRPC is not needed for REST, nor the other way round.
    if rest_url is not None:
        from serving_config.client.rest_transport import RestTransport  # noqa: PLC0415

        return RestTransport(rest_url, tls=tls, connections=connections)
    from serving_config.client.grpc_transport import GrpcTransport  # noqa: PLC0415

    if not grpc_target or grpc_target.startswith(("http://", "https://")):
        raise UsageError(f"grpc_target is {grpc_target!r}; expected such as localhost:8500, without http://")
    return GrpcTransport(grpc_target, tls=tls)
