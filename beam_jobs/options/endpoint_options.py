"""A model server that scores, as values that have been checked."""

from __future__ import annotations

import dataclasses

from beam_jobs.errors import UsageError
from maf_serving.tls import Tls

DEFAULT_MAX_ROWS = 4096
DEFAULT_TIMEOUT = 60.0
DEFAULT_RETRIES = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """A model of a server, and how to ask for it.

    Attributes:
      target: `host:port` of the server's gRPC.
      model_name: the name that the server has the model under.
      version: one of its versions, or `None` for the server's choice.
      version_label: a label of one, instead.
      max_rows: rows in one request at most; a server that batches may take fewer, which its refusal tells.
      timeout: seconds that one request may take.
      retries: how often a batch is asked for again when the server is busy or away; Beam waits about 5, 10, 20, ...
        seconds in between.
      rows_per_second: the most that each worker process sends, or `None` for no limit. Beam slows down by itself while
        many requests fail.
      tls: files of a connection with TLS, or `None` for one without.
    """

    target: str
    model_name: str
    version: int | None = None
    version_label: str | None = None
    max_rows: int = DEFAULT_MAX_ROWS
    timeout: float = DEFAULT_TIMEOUT
    retries: int = DEFAULT_RETRIES
    rows_per_second: float | None = None
    tls: Tls | None = None

    def __post_init__(self) -> None:
        host, colon, port = self.target.rpartition(":")
        if not (host and colon and port.isdigit()) or "://" in self.target:
            raise UsageError(
                f"--grpc_target is {self.target!r}; expected HOST:PORT of the server's gRPC, such as host:8500"
            )
        if not self.model_name:
            raise UsageError("--model_name is missing; expected the name that the server has the model under")
        if self.version is not None and self.version_label is not None:
            raise UsageError(
                f"--version {self.version} and --version_label {self.version_label!r} are both given; "
                "expected at most one"
            )
        for flag, value, least in (
            ("--rows_per_request", self.max_rows, 1),
            ("--attempts, less one,", self.retries, 0),
        ):
            if value < least:
                raise UsageError(f"{flag} is {value}; expected at least {least}")
        if not self.timeout > 0:
            raise UsageError(f"--timeout is {self.timeout:g}; expected more than 0 seconds")
        if self.rows_per_second is not None and not self.rows_per_second > 0:
            raise UsageError(f"--rows_per_second is {self.rows_per_second:g}; expected more than 0")
