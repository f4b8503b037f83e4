"""Keys and certificates of a client that speaks TLS with a model server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from maf_serving.errors import UsageError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files of a TLS connection, by name: what is in them is read where the connection is opened.

        Tls(root_certificates="ca.pem")

    A batch job reads them on its workers, from URLs too, so that no key travels with the job.

    Attributes:
      root_certificates: whom to trust; `None` for the system's or the library's own list.
      client_certificate: shown to a server that verifies its clients; needs `client_key`.
      client_key: private key of `client_certificate`.
    """

    root_certificates: str | Path | None = None
    client_certificate: str | Path | None = None
    client_key: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.client_certificate is None) != (self.client_key is None):
            raise UsageError("client_certificate and client_key belong together; expected both or neither")

    def files(self) -> dict[str, str]:
        """The files that are named, by their field."""
        paths = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: str(path) for name, path in paths.items() if path is not None}

    def check_files(self) -> None:
        """Raises `UsageError` naming the first that is no file of this machine."""
        for name, path in self.files().items():
            if not Path(path).is_file():
                raise UsageError(f"{name} {path!r} is no file; expected a PEM file")

    def moved(self, move: Callable[[str], str]) -> Tls:
        """The same with each file's name replaced, such as by its absolute path."""
        return Tls(**{name: move(path) for name, path in self.files().items()})

    def read(self, read_file: Callable[[str, str], bytes] | None = None) -> TlsContents:
        """What is in the files. `read_file` gets the field and the file; by default it reads from this machine."""
        read = read_file or _read
        return TlsContents(**{name: read(name, path) for name, path in self.files().items()})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TlsContents:
    """What is in the files of a `Tls`: PEM. No `repr` shows the key."""

    root_certificates: bytes | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = None


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{name} {path!r} cannot be read: {error.strerror or error}; expected a PEM file") from error
