"""Keys and certificates of a connection with TLS."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from serving_config.errors import UsageError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files of a TLS connection.

    Attributes:
      root_certificates: whom to trust; `None` for the system's or the library's own list.
      client_certificate: shown to a server that verifies its clients; needs `client_key`.
      client_key: private key of `client_certificate`.
    """

    root_certificates: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None

    def __post_init__(self) -> None:
        if (self.client_certificate is None) != (self.client_key is None):
            raise UsageError("client_certificate and client_key belong together; expected both or neither")
        for name in ("root_certificates", "client_certificate", "client_key"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise UsageError(f"{name} {str(path)!r} is no file; expected a PEM file")

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Root certificates, client key and client certificate, as gRPC takes them."""
        paths = (self.root_certificates, self.client_key, self.client_certificate)
        root, key, certificate = (None if path is None else path.read_bytes() for path in paths)
        return root, key, certificate
