"""Which model of which server is to score."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from beam_jobs.errors import UsageError
from beam_jobs.options.job_options import check_at_least
from maf_serving.tls import Tls

if TYPE_CHECKING:
    import argparse

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
                f"--endpoint is {self.target!r}; expected HOST:PORT of the server's gRPC, such as host:8500"
            )
        if not self.model_name:
            raise UsageError("--endpoint_model_name is missing; expected the name that the server has the model under")
        if self.version is not None and self.version_label is not None:
            raise UsageError(
                f"--endpoint_version {self.version} and --endpoint_label {self.version_label!r} are both given; "
                "expected at most one"
            )
        check_at_least("--endpoint_max_rows", self.max_rows, 1)
        check_at_least("--endpoint_retries", self.retries, 0)
        if not self.timeout > 0:
            raise UsageError(f"--endpoint_timeout is {self.timeout:g}; expected more than 0 seconds")
        if self.rows_per_second is not None and not self.rows_per_second > 0:
            raise UsageError(f"--endpoint_rows_per_second is {self.rows_per_second:g}; expected more than 0")


def add_endpoint_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `take_endpoint` reads."""
    group = parser.add_argument_group(
        "a model server instead of a SavedModel on the worker",
        "The contract of --model still says what the columns are.",
    )
    add = group.add_argument
    add("--endpoint", metavar="HOST:PORT", help="gRPC of a TensorFlow Serving that scores")
    add("--endpoint_model_name", metavar="NAME", help="name that the server has the model under")
    add("--endpoint_version", type=int, metavar="N", help="default: the server's choice, its newest")
    add("--endpoint_label", metavar="LABEL", help="of a version, such as stable")
    add("--endpoint_max_rows", type=int, metavar="ROWS", help=f"in one request ({DEFAULT_MAX_ROWS})")
    add("--endpoint_timeout", type=float, metavar="SECONDS", help=f"of one request ({DEFAULT_TIMEOUT:g})")
    add("--endpoint_retries", type=int, metavar="N", help=f"of a batch, later and later ({DEFAULT_RETRIES})")
    add("--endpoint_rows_per_second", type=float, metavar="ROWS", help="of each worker process (no limit)")
    add("--endpoint_root_certificates", metavar="PEM", help="whom to trust; TLS is used if one of these is given")
    add("--endpoint_client_certificate", metavar="PEM", help="for a server that verifies its clients")
    add("--endpoint_client_key", metavar="PEM", help="private key of --endpoint_client_certificate")


def take_endpoint(flags: argparse.Namespace) -> EndpointOptions | None:
    """Removes the endpoint's flags from what was parsed and makes options of them; `None` without `--endpoint`.

    Raises:
      UsageError: a flag has no valid value, or is given without `--endpoint`.
    """
    fields = {
        "model_name": "endpoint_model_name",
        "version": "endpoint_version",
        "version_label": "endpoint_label",
        "max_rows": "endpoint_max_rows",
        "timeout": "endpoint_timeout",
        "retries": "endpoint_retries",
        "rows_per_second": "endpoint_rows_per_second",
    }
    tls_fields = {name: f"endpoint_{name}" for name in ("root_certificates", "client_certificate", "client_key")}
    values = vars(flags)
    target = values.pop("endpoint")
    given = {field: value for field, name in fields.items() if (value := values.pop(name)) is not None}
    tls = {field: value for field, name in tls_fields.items() if (value := values.pop(name)) is not None}
    if target is not None:
        given = {"model_name": "", "tls": Tls(**tls) if tls else None, **given}
        return EndpointOptions(target=target, **given)
    if given or tls:
        names = ", ".join(f"--{(fields | tls_fields)[field]}" for field in [*given, *tls])
        raise UsageError(f"{names} came without --endpoint; expected HOST:PORT of a server with it")
    return None
