"""The options of the rollout command, as a value and as command-line flags."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from maf_serving.flags import CommandParser
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
    own = {field.name for field in dataclasses.fields(RolloutOptions)} - {"server"}
    return RolloutOptions(
        server=parse_server(flags), **{name: value for name, value in vars(flags).items() if name in own}
    )


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
    add("--dry_run", dest="run", action="store_const", const="dry", default="real", help="say what would be done")
    add_server_flags(parser)
    parser.add_old_names({"--label": "--version_label"})
    return parser
