"""The options of the client command, and the flags that all commands share which ask a running server.

Standard library alone: `--help` is instant.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from maf_serving.flags import (
    CommandParser,
    OnOutOfRange,
    add_csv_flags,
    add_out_of_range_flags,
    names,
    pairs,
    take_dialect,
)
from maf_serving.model_spec import ModelSpec
from maf_serving.table_formats import USUAL_CSV, CsvDialect, find_format, list_suffixes
from maf_serving.tls import Tls
from serving_config.client.retry import RetryPolicy
from serving_config.errors import UsageError

Operation = Literal["log_prob", "sample", "summarize", "quantile", "cdf", "inverse", "forward", "status"]
ALL_COLUMNS = ("*",)
READABLE = ("parquet", "csv")
WRITABLE = (".parquet", ".pq", ".csv")
_DESCRIPTION = """Calls a served flow with the rows of a table, over REST or gRPC.

  %(prog)s log_prob --rest_url http://localhost:8501 --model_name demo \\
      --model models/demo --input rows.parquet --output scored.parquet
  %(prog)s sample --grpc_target localhost:8500 --model_name demo --version_label stable \\
      --event x0,x1 --condition c0 --input conditions.csv --num_samples 10 --seed 7
  %(prog)s quantile --rest_url http://localhost:8501 --model_name demo --model models/demo \\
      --levels 0.05,0.95 --input conditions.parquet --output intervals.parquet
  %(prog)s status --rest_url http://localhost:8501 --model_name demo

log_prob   writes row, its number in the file, and log_prob, in nats
sample     writes num_samples rows for each: row, draw, the event columns, log_prob
summarize  writes row, and <event column>_mean, _stddev, _q05 and so on, for the levels that the model has
quantile   writes row and <event column>_q10, _q90 for --levels 0.1,0.9, of a model of one event column
cdf        writes row and cdf, the probability of at most the row's value; of several event columns cdf_<event column>
inverse    writes row, z_<event column> in base space, and log_prob
forward    reads z_<event column>, writes row and the event columns
status     prints the states of the model's versions"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What to ask a server, with which rows, and where to put the answers.

    Attributes:
      operation: what to do.
      server: where to ask.
      model_spec: which model, by name and by version or label.
      input_path: a Parquet or CSV file.
      csv: how the input is written, if it is CSV.
      output_path: a Parquet or CSV file to write; `None` prints CSV.
      existing_output: what to do if it exists.
      model: an exported version, or a directory of them, whose contract names the columns.
      contract: the contract itself.
      event_columns: names of the columns of `x`, if no contract gives them.
      conditional_columns: names of the columns of `conditional_input`, if no contract gives them.
      rename: pairs of the contract's name of a column and the file's.
      keep: input columns to carry through; `("*",)` is all of them.
      num_samples: draws for each row.
      levels: probabilities whose quantiles are wanted.
      seed: makes draws reproducible; `None` for fresh ones, and of summaries for those of seed 0.
      key_column: the column that says which row is which; without it, its number does.
      max_rejected: the share of rows that may be rejected before the call fails, from 0 to 1.
      on_out_of_range: what becomes of rows whose condition is nothing like what training saw.
      rows_per_request: rows of the largest request.
      concurrency: requests under way at a time.
    """

    operation: Operation
    server: ServerAddress
    model_spec: ModelSpec
    input_path: Path | None = None
    csv: CsvDialect = USUAL_CSV
    output_path: Path | None = None
    existing_output: Literal["refuse", "replace"] = "refuse"
    model: Path | None = None
    contract: Path | None = None
    event_columns: tuple[str, ...] = ()
    conditional_columns: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    keep: tuple[str, ...] = ()
    num_samples: int = 1
    levels: tuple[float, ...] = ()
    seed: int | None = None
    key_column: str | None = None
    max_rejected: float = 1.0
    on_out_of_range: OnOutOfRange = "count"
    rows_per_request: int = 1000
    concurrency: int = 4

    def __post_init__(self) -> None:
        if (self.operation == "status") != (self.input_path is None):
            raise UsageError(
                "--input is missing; expected a Parquet or CSV file (for all but status, which reads none)"
            )
        if self.input_path is not None and find_format(self.input_path.name) not in READABLE:
            raise UsageError(
                f"--input {self.input_path} ends in {self.input_path.suffix!r}; expected {list_suffixes(READABLE)}"
            )
        if self.output_path is not None and self.output_path.suffix.lower() not in WRITABLE:
            raise UsageError(
                f"--output {self.output_path} ends in {self.output_path.suffix!r}; "
                f"expected one of {', '.join(WRITABLE)}"
            )
        if self.output_path is not None and self.output_path.exists() and self.existing_output == "refuse":
            raise UsageError(f"--output {self.output_path} exists; name another file, or add --overwrite")
        if self.rename and (self.event_columns or self.conditional_columns):
            raise UsageError(
                "--rename came with --event or --condition, which name the file's columns already; expected --rename "
                "with --model or --contract"
            )
        self._check_draws()
        if self.on_out_of_range != "count" and self.operation == "status":
            raise UsageError("--out_of_range and --reject_out_of_range have no meaning for status, which reads no rows")
        if not 0 <= self.max_rejected <= 1:
            raise UsageError(f"--max_rejected is {self.max_rejected}; expected a share of the rows, from 0 to 1")
        if self.num_samples < 1 or self.rows_per_request < 1 or self.concurrency < 1:
            raise UsageError(
                f"--num_samples is {self.num_samples}, --rows_per_request {self.rows_per_request}, "
                f"--concurrency {self.concurrency}; expected at least 1 of each"
            )
        if not all(self.keep) or len(set(self.keep)) < len(self.keep) or ("*" in self.keep and len(self.keep) > 1):
            raise UsageError(f"--keep is {','.join(self.keep)!r}; expected column names, each once, or '*'")

    def _check_draws(self) -> None:
        asked = self.seed is not None or self.key_column is not None
        if self.num_samples != 1 and self.operation != "sample":
            raise UsageError(f"--num_samples has no meaning for {self.operation}; expected with sample")
        if asked and self.operation not in {"sample", "summarize"}:
            raise UsageError(
                f"--seed and --key_column have no meaning for {self.operation}; expected with sample or summarize"
            )
        self._check_levels()
        if self.seed is not None and not -(2**63) <= self.seed < 2**64:
            raise UsageError(f"--seed is {self.seed}; expected an integer of 64 bits")
        if self.key_column is not None and self.seed is None:
            raise UsageError("--key_column says which row is which for --seed; name a seed too")

    def _check_levels(self) -> None:
        if (self.operation == "quantile") != bool(self.levels):
            came = "are missing" if not self.levels else f"have no meaning for {self.operation}"
            raise UsageError(f"--levels {came}; expected such as 0.1,0.9 with quantile, and with it alone")
        for level in self.levels:
            if not 0 < level < 1:
                raise UsageError(f"--levels has {level:g}; expected probabilities between 0 and 1")


def parse_call(arguments: Sequence[str]) -> CallOptions:
    """The options that the flags give.

    Raises:
      UsageError: a flag is missing, unknown, or has no valid value.
      SystemExit: after printing the help that was asked for.
    """
    flags = _parser().parse_args(list(arguments))
    spec = ModelSpec(name=flags.model_name, version=flags.version, version_label=flags.version_label)
    flags.csv = take_dialect(vars(flags))
    own = {field.name for field in dataclasses.fields(CallOptions)} - {"server", "model_spec"}
    return CallOptions(
        server=parse_server(flags),
        model_spec=spec,
        **{name: value for name, value in vars(flags).items() if name in own},
    )


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser("serving_config.client", _DESCRIPTION)
    parser.add_argument("operation", choices=get_args(Operation), metavar="|".join(get_args(Operation)))
    add_server_flags(parser)
    model = parser.add_argument_group("model").add_argument
    model("--model_name", required=True, metavar="NAME", help="the server's name of the model")
    model("--version", type=int, metavar="N", help="by default the newest that the server has")
    model("--version_label", metavar="LABEL", help="such as stable, instead of --version")
    columns = parser.add_argument_group("columns").add_argument
    columns(
        "--model",
        type=Path,
        metavar="DIR",
        help="exported version or directory of versions, whose contract names them; default: models/MODEL_NAME if it "
        "is there, else what the server says, of a model that takes columns by name",
    )
    columns("--contract", type=Path, metavar="JSON", help="a contract.json")
    columns(
        "--rename",
        type=pairs,
        default=(),
        metavar="COLUMN=OTHER,...",
        help="where the file differs: the model's name of a column, and the file's",
    )
    columns(
        "--event",
        dest="event_columns",
        type=names,
        default=(),
        metavar="COLUMNS",
        help="without a contract: the file's columns of x, in the model's order",
    )
    columns(
        "--condition",
        dest="conditional_columns",
        type=names,
        default=(),
        metavar="COLUMNS",
        help="and those of conditional_input",
    )
    columns("--keep", type=names, default=(), metavar="COLUMNS", help="carried through; '*' for all")
    rows = parser.add_argument_group("rows").add_argument
    rows(
        "--input",
        type=Path,
        dest="input_path",
        metavar="FILE",
        help=".parquet or .csv, .csv.gz, .csv.bz2, .csv.zst; rows that the model cannot take are rejected",
    )
    add_csv_flags(parser.add_argument_group("--input that is CSV"))
    rows(
        "--output",
        type=Path,
        dest="output_path",
        metavar="FILE",
        help=".parquet or .csv, and beside it FILE.rejected.*; by default CSV on stdout",
    )
    rows(
        "--overwrite",
        dest="existing_output",
        action="store_const",
        const="replace",
        default="refuse",
        help="replace --output if it is there",
    )
    rows("--num_samples", type=int, default=1, metavar="N", help="draws for each row; default: %(default)s")
    rows(
        "--levels",
        type=_levels,
        default=(),
        metavar="PROBABILITIES",
        help="of quantile, such as 0.1,0.9: what is not exceeded with these probabilities",
    )
    rows(
        "--seed",
        type=int,
        metavar="N",
        help="the same draws every time, those of a batch job; by default fresh ones (of summarize: 0)",
    )
    rows(
        "--key_column",
        metavar="COLUMN",
        help="column that identifies a row, whole numbers or text; its draws then follow it through any reordering",
    )
    rows(
        "--max_rejected",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="fail if a larger share of the rows, from 0 to 1, is rejected (default: 1, no limit)",
    )
    add_out_of_range_flags(parser)
    rows("--rows_per_request", type=int, default=1000, metavar="N", help="default: %(default)s")
    rows("--concurrency", type=int, default=4, metavar="N", help="requests under way at a time; default: %(default)s")
    parser.add_old_names({"--event_columns": "--event", "--conditional_columns": "--condition"})
    return parser


def _levels(text: str) -> tuple[float, ...]:
    try:
        return tuple(dict.fromkeys(float(each) for each in names(text)))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} has what is no number; expected such as 0.1,0.9") from None


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
