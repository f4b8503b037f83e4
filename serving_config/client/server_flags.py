"""The flags that say which model of which server is meant, shared by the commands that ask a running server."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from maf_serving.tls import Tls
from serving_config.client.retry import RetryPolicy
from serving_config.errors import UsageError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where a server is, and how to speak with it.

    Attributes:
      rest_url: `http://host:8501`; either this or `grpc_target`.
      grpc_target: `host:8500`.
      tls: files of a TLS connection, or `None` for none (an https URL uses the system's certificates then).
      timeout: seconds that one request may take.
      attempts: how often a request is sent at most.
    """

    rest_url: str | None = None
    grpc_target: str | None = None
    tls: Tls | None = None
    timeout: float = 60.0
    attempts: int = 5

    def __post_init__(self) -> None:
        if (self.rest_url is None) == (self.grpc_target is None):
            came = "neither" if self.rest_url is None else "both"
            raise UsageError(f"of --rest_url http://HOST:8501 and --grpc_target HOST:8500, {came} came; expected one")
        if not self.timeout > 0:
            raise UsageError(f"--timeout is {self.timeout:g}; expected more than 0 seconds")
        if self.tls is not None:
            self.tls.check_files()
        RetryPolicy(attempts=self.attempts)

    def __str__(self) -> str:
        return str(self.rest_url or self.grpc_target)


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `parse_server` reads."""
    group = parser.add_argument_group("server")
    add = group.add_argument
    add("--rest_url", metavar="URL", help="such as http://localhost:8501; either this or --grpc_target")
    add("--grpc_target", metavar="HOST:PORT", help="such as localhost:8500")
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help="for one request; default: %(default)g")
    add("--attempts", type=int, default=5, metavar="N", help="tries of a request at most; default: %(default)s")
    add("--root_certificates", type=Path, metavar="PEM", help="whom to trust; gRPC uses TLS if one of these is given")
    add("--client_certificate", type=Path, metavar="PEM", help="for a server that verifies its clients")
    add("--client_key", type=Path, metavar="PEM", help="private key of --client_certificate")


def parse_server(flags: argparse.Namespace) -> ServerAddress:
    """The address that the flags give. Raises `UsageError`."""
    files = {name: getattr(flags, name) for name in ("root_certificates", "client_certificate", "client_key")}
    return ServerAddress(
        rest_url=flags.rest_url,
        grpc_target=flags.grpc_target,
        tls=Tls(**files) if any(files.values()) else None,
        timeout=flags.timeout,
        attempts=flags.attempts,
    )
