"""The options of the rollout command, as a value and as command-line flags."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from maf_serving.flags import CommandParser, names
from serving_config.client.options import ServerAddress, add_server_flags, parse_server
from serving_config.errors import UsageError
from serving_config.spec import check_name

Operation = Literal["promote", "rollback", "assign"]
Apply = Literal["poll", "push"]

_DESCRIPTION = """Moves a version label of a running server, by its models.config.

  %(prog)s assign   --models_config serving/models.config --model_name demo \\
      --version_label canary --version 3 --rest_url http://localhost:8501
  %(prog)s promote  --models_config serving/models.config --model_name demo ...
  %(prog)s rollback --models_config serving/models.config --model_name demo ...

assign     puts --version_label on --version
promote    puts --version_label (stable) on the version of --from_label (canary)
rollback   puts --version_label (stable) back on --version, or on the newest loaded version before its own

The version is loaded first: it is added to a policy of specific versions, and awaited. Then the label moves, and the
command waits until the server answers for it. models.config is replaced whole each time. The server must look at
the file by itself (--model_config_file_poll_wait_seconds), or be told over gRPC with --apply push.

On Kubernetes the file is a key of a ConfigMap: name its manifest with --manifest instead. The command rewrites it (its
comments are lost), says how to apply it, and goes on once the server has it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a version has to pass before it is promoted.

    Attributes:
      inputs: paths or globs of a table, whose rows both versions are asked about.
      max_regression: by how many nats per row it may be worse, beyond noise.
      on_worse: what to do of a version that is worse than that.
      model_base: where the versions are on this machine; `None` for where models.config has them.
      output: a directory to be made for the comparison and its page; `None` keeps neither.
    """

    inputs: tuple[str, ...]
    max_regression: float = 0.0
    on_worse: Literal["refuse", "promote"] = "refuse"
    model_base: str | None = None
    output: Path | None = None

    def __post_init__(self) -> None:
        if not self.inputs or not all(self.inputs):
            raise UsageError(f"--gate is {','.join(self.inputs)!r}; expected paths or globs of a table")
        if not 0 <= self.max_regression < math.inf:
            raise UsageError(f"--max_regression is {self.max_regression:g}; expected nats per row, at least 0")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOptions:
    """What to move, and how.

    Attributes:
      operation: what to do.
      models_config: the file that the server reads; either this or `manifest`.
      manifest: the manifest of the ConfigMap that the server has it from.
      model_name: the model in it.
      server: where the server is.
      label: the label to move.
      from_label: for `promote`, the label whose version it gets.
      version: for `assign`, and for `rollback` if it is not the one before.
      apply: `poll` leaves it to the server to read the file, `push` sends it over gRPC.
      wait_seconds: for the version to load, and again for the label to move.
      run: `dry` changes nothing.
      gate: for `promote`, what the version has to pass; or `None`.
    """

    operation: Operation
    model_name: str
    server: ServerAddress
    models_config: Path | None = None
    manifest: Path | None = None
    label: str = "stable"
    from_label: str = "canary"
    version: int | None = None
    apply: Apply = "poll"
    wait_seconds: float = 300.0
    run: Literal["real", "dry"] = "real"
    gate: Gate | None = None

    def __post_init__(self) -> None:
        if (self.models_config is None) == (self.manifest is None):
            given = "neither" if self.manifest is None else "both"
            raise UsageError(f"--models_config and --manifest: {given} given; expected one of them")
        if self.manifest is not None and self.apply == "push":
            raise UsageError(
                "--apply push tells one server alone; expected none with --manifest, which is for all pods"
            )
        check_name("--version_label", self.label)
        if self.operation == "assign" and self.version is None:
            raise UsageError("--version is missing; expected the version that assign puts the label on")
        if self.operation == "promote" and self.version is not None:
            raise UsageError(f"--version {self.version} has no meaning for promote; expected with assign or rollback")
        if self.operation == "promote" and self.from_label == self.label:
            raise UsageError(f"--from_label and --version_label are both {self.label!r}; expected two labels")
        if self.operation != "promote" and self.gate is not None:
            raise UsageError(f"--gate has no meaning for {self.operation}; expected with promote")
        if self.version is not None and self.version < 0:
            raise UsageError(f"--version is {self.version}; expected an integer of at least 0")
        if self.apply == "push" and self.server.grpc_target is None:
            raise UsageError("--apply push needs --grpc_target: a configuration cannot be sent over REST")
        if not self.wait_seconds > 0:
            raise UsageError(f"--wait_seconds is {self.wait_seconds:g}; expected more than 0")


def parse_rollout(arguments: Sequence[str]) -> RolloutOptions:
    """The options that the flags give.

    Raises:
      UsageError: a flag is missing, unknown, or has no valid value.
      SystemExit: after printing the help that was asked for.
    """
    flags = _parser().parse_args(list(arguments))
    own = {field.name for field in dataclasses.fields(RolloutOptions)} - {"server", "gate"}
    return RolloutOptions(
        server=parse_server(flags),
        gate=_parse_gate(flags),
        **{name: value for name, value in vars(flags).items() if name in own},
    )


def _parse_gate(flags: argparse.Namespace) -> Gate | None:
    given = {
        "max_regression": flags.max_regression,
        "on_worse": flags.on_worse,
        "model_base": flags.model_base,
        "output": flags.gate_output,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if flags.gate is not None:
        return Gate(inputs=flags.gate, **given)
    if given:
        names = {"on_worse": "override_gate", "output": "gate_output"}
        listed = ", ".join(f"--{names.get(name, name)}" for name in given)
        raise UsageError(f"{listed} came without --gate; expected a table with it")
    return None


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser("serving_config.rollout", _DESCRIPTION)
    add = parser.add_argument
    add("operation", choices=get_args(Operation), metavar="assign|promote|rollback")
    add("--models_config", type=Path, metavar="FILE", help="the file that the server reads")
    add("--manifest", type=Path, metavar="FILE", help="on Kubernetes: the ConfigMap that has it, to be applied by you")
    add("--model_name", required=True, metavar="NAME", help="the model in it")
    add("--version_label", dest="label", default="stable", metavar="LABEL", help="to move; default: %(default)s")
    add("--from_label", default="canary", metavar="LABEL", help="whose version promote takes; default: %(default)s")
    add("--version", type=int, metavar="N", help="for assign and rollback")
    add("--apply", choices=get_args(Apply), default="poll", help="default: %(default)s")
    add(
        "--wait_seconds", type=float, default=300.0, metavar="S", help="for each of the two steps; default: %(default)g"
    )
    group = parser.add_argument_group(
        "a gate for promote", "Refuses a version that is worse on the rows of a table, by `maf-serving compare`."
    )
    gate = group.add_argument
    gate("--gate", type=names, metavar="FILES", help="the table: paths or globs, comma separated")
    gate("--max_regression", type=float, metavar="NATS", help="per row, by which it may be worse beyond noise (0)")
    gate(
        "--override_gate",
        dest="on_worse",
        action="store_const",
        const="promote",
        help="promote a version that is worse all the same, and say so",
    )
    gate(
        "--model",
        dest="model_base",
        metavar="DIR",
        help="where the versions are here, if models.config has another place",
    )
    gate("--gate_output", type=Path, metavar="DIR", help="to be made, for the comparison and its page")
    add("--dry_run", dest="run", action="store_const", const="dry", default="real", help="say what would be done")
    add_server_flags(parser)
    parser.add_old_names({"--label": "--version_label"})
    return parser
