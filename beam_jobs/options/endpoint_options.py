"""Which model of which server is to score."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from beam_jobs.errors import UsageError
from beam_jobs.options.job_options import check_at_least

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
      max_rows: rows in one request at most.
      timeout: seconds that one request may take.
      retries: how often a batch is asked for again when the server is busy or away; Beam waits about 5, 10, 20, ...
        seconds in between.
    """

    target: str
    model_name: str
    version: int | None = None
    version_label: str | None = None
    max_rows: int = DEFAULT_MAX_ROWS
    timeout: float = DEFAULT_TIMEOUT
    retries: int = DEFAULT_RETRIES

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
    }
    values = vars(flags)
    target = values.pop("endpoint")
    given = {field: value for field, name in fields.items() if (value := values.pop(name)) is not None}
    if target is not None:
        return EndpointOptions(target=target, **{"model_name": "", **given})
    if given:
        names = ", ".join(f"--{fields[field]}" for field in given)
        raise UsageError(f"{names} came without --endpoint; expected HOST:PORT of a server with it")
    return None
