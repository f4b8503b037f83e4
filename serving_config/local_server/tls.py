"""TLS of both doors, from TF Serving's `SSLConfig`."""

from __future__ import annotations

import dataclasses
import ssl
import tempfile
from pathlib import Path
from typing import Any

import grpc

from maf_serving.messages import message_class, read_text_message
from serving_config.errors import UsageError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Certificates in PEM.

    Attributes:
      server_key: the server's private key.
      server_cert: its certificate.
      custom_ca: what signs clients' certificates; the system's authorities if empty.
      client_verify: `required` if clients must show a certificate.
    """

    server_key: str
    server_cert: str
    custom_ca: str = ""
    client_verify: bool = False

    def __post_init__(self) -> None:
        for name in ("server_key", "server_cert"):
            if "-----BEGIN" not in getattr(self, name):
                raise UsageError(
                    f"the SSL configuration has no {name} in PEM; expected the text, -----BEGIN ..., not a path"
                )
        if self.client_verify and not self.custom_ca:
            raise UsageError("the SSL configuration has client_verify without custom_ca; expected both")

    def grpc_credentials(self) -> Any:
        """For a gRPC server."""
        return grpc.ssl_server_credentials(
            [(self.server_key.encode(), self.server_cert.encode())],
            root_certificates=self.custom_ca.encode() or None,
            require_client_auth=self.client_verify,
        )

    def context(self) -> ssl.SSLContext:
        """For an HTTP server.

        Raises:
          UsageError: if key and certificate do not fit together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            with (
                tempfile.TemporaryDirectory() as directory
            ):  # the standard library reads key and certificate from files alone
                pem = Path(directory, "server.pem")
                pem.touch(mode=0o600)
                pem.write_text(self.server_key.rstrip() + "\n" + self.server_cert, encoding="ascii")
                context.load_cert_chain(pem)
            if self.custom_ca:
                context.load_verify_locations(cadata=self.custom_ca)
        except (ssl.SSLError, ValueError) as error:
            raise UsageError(
                f"the SSL configuration does not work: {error}; expected a key and its certificate"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED if self.client_verify else ssl.CERT_NONE
        return context


def read_tls_config(path: str) -> TlsConfig:
    """Reads an `ssl.config`. Raises `UsageError`."""
    message = read_text_message(path, message_class("SSLConfig")())
    return TlsConfig(
        server_key=message.server_key,
        server_cert=message.server_cert,
        custom_ca=message.custom_ca,
        client_verify=message.client_verify,
    )
