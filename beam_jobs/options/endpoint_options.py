"""Which model of which server is to score."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from beam_jobs.errors import UsageError
from beam_jobs.options.job_options import check_at_least
from maf_serving.tls import Tls

if TYPE_CHECKING:
    from maf_serving.flags import CommandParser

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
        check_at_least("--rows_per_request", self.max_rows, 1)
        check_at_least("--attempts, less one,", self.retries, 0)
        if not self.timeout > 0:
            raise UsageError(f"--timeout is {self.timeout:g}; expected more than 0 seconds")
        if self.rows_per_second is not None and not self.rows_per_second > 0:
            raise UsageError(f"--rows_per_second is {self.rows_per_second:g}; expected more than 0")


def add_endpoint_flags(parser: CommandParser) -> None:
    """Adds the flags that `take_endpoint` reads."""
    group = parser.add_argument_group(
        "a model server instead of a SavedModel on the worker",
        "The contract of --model still says what the columns are.",
    )
    add = group.add_argument
    add("--grpc_target", metavar="HOST:PORT", help="gRPC of a TensorFlow Serving that scores")
    add("--model_name", metavar="NAME", help="name that the server has the model under")
    add("--version", type=int, metavar="N", help="default: the server's choice, its newest")
    add("--version_label", metavar="LABEL", help="of a version, such as stable")
    add("--rows_per_request", type=int, metavar="ROWS", help=f"at most ({DEFAULT_MAX_ROWS})")
    add("--timeout", type=float, metavar="SECONDS", help=f"of one request ({DEFAULT_TIMEOUT:g})")
    add("--attempts", type=int, metavar="N", help=f"tries of a batch, later and later ({DEFAULT_RETRIES + 1})")
    add("--endpoint_retries", type=int, help=argparse.SUPPRESS)  # tries after the first
    add("--rows_per_second", type=float, metavar="ROWS", help="of each worker process (no limit)")
    add("--root_certificates", metavar="PEM", help="whom to trust; TLS is used if one of these is given")
    add("--client_certificate", metavar="PEM", help="for a server that verifies its clients")
    add("--client_key", metavar="PEM", help="private key of --client_certificate")
    parser.add_old_names(
        {
            "--endpoint": "--grpc_target",
            "--endpoint_model_name": "--model_name",
            "--endpoint_version": "--version",
            "--endpoint_label": "--version_label",
            "--endpoint_max_rows": "--rows_per_request",
            "--endpoint_timeout": "--timeout",
            "--endpoint_rows_per_second": "--rows_per_second",
            "--endpoint_root_certificates": "--root_certificates",
            "--endpoint_client_certificate": "--client_certificate",
            "--endpoint_client_key": "--client_key",
        }
    )


_FIELDS = {
    "model_name": "model_name",
    "version": "version",
    "version_label": "version_label",
    "rows_per_request": "max_rows",
    "timeout": "timeout",
    "endpoint_retries": "retries",
    "rows_per_second": "rows_per_second",
}
_TLS_FIELDS = ("root_certificates", "client_certificate", "client_key")


def take_endpoint(flags: argparse.Namespace) -> EndpointOptions | None:
    """Removes the server's flags from what was parsed and makes options of them; `None` without `--grpc_target`.

    Raises:
      UsageError: a flag has no valid value, or is given without `--grpc_target`.
    """
    values = vars(flags)
    target, attempts = values.pop("grpc_target"), values.pop("attempts")
    fields = {name: value for name in _FIELDS if (value := values.pop(name)) is not None}
    tls = {name: value for name in _TLS_FIELDS if (value := values.pop(name)) is not None}
    if target is None:
        given = [*fields, *tls, *(["attempts"] if attempts is not None else [])]
        if given:
            names = ", ".join(f"--{name}" for name in given)
            raise UsageError(f"{names} came without --grpc_target; expected HOST:PORT of a server with it")
        return None
    if attempts is not None:
        check_at_least("--attempts", attempts, 1)
        fields["endpoint_retries"] = attempts - 1
    options = {"model_name": "", **{_FIELDS[name]: value for name, value in fields.items()}}
    return EndpointOptions(target=target, tls=Tls(**tls) if tls else None, **options)
