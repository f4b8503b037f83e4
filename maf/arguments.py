"""The command line of `python -m maf`, made from the fields of the configurations. No TensorFlow in here."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maf.config import DataConfig, FlowConfig, RunConfig, TrainingConfig
from maf.errors import ConfigError, RunError
from maf_serving.flags import CommandParser, Extend, add_csv_flags, integers, names, take_dialect
from maf_serving.strict_json import required_kind

DESCRIPTION = """Trains a conditional masked autoregressive flow p(x | c) on a table and leaves a run directory.

  %(prog)s --input train.parquet --event y0,y1 --condition c0,c1 --run runs/demo
  %(prog)s --run runs/demo --resume

Columns and files are lists, separated by commas; what has a comma in it is put into double quotes: '"x, y",z'."""
OLD_NAMES = {
    "--data": "--input",
    "--test_data": "--test_input",
    "--batch_size": "--minibatch_rows",
    "--max_dropped_share": "--max_rejected",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line asks for.

    Attributes:
      run: the run directory.
      config: what to train; `None` if only a run to resume is named.
      resume: whether to continue the run if it is there.
    """

    run: Path
    config: RunConfig | None
    resume: bool


def parse_training(argv: Sequence[str] | None = None) -> Arguments:
    """Parses the command line. Raises `UsageError` for a wrong flag, `ConfigError` for a bad value."""
    values = vars(_parser().parse_args(argv))
    run, resume = Path(values.pop("run")), values.pop("resume")
    if resume and not values:
        return Arguments(run, None, resume)
    if resume and "data" not in values:
        raise ConfigError(
            f"--resume came with {flag_of(next(iter(values)))}; a run is resumed with its own options: give --run and "
            "--resume alone, or the command that started it with --resume added"
        )
    return Arguments(run, make_config(values, "--run DIR"), resume)


def make_config(values: Mapping[str, Any], others: str) -> RunConfig:
    """The configuration that the options of `add_config_options` say; what was not given keeps its default.

    Args:
      values: by option, those that were given.
      others: what else the command needs, for the error that says that `--input` or `--event` is missing.
    """
    for name, flag in (("data", "--input"), ("event", "--event")):
        if name not in values:
            raise ConfigError(f"{flag} is missing; expected --input FILES --event COLUMNS {others}")
    sections = {"data": DataConfig, "flow": FlowConfig, "training": TrainingConfig}
    given = {
        section: {name: value for name, value in values.items() if name in _field_names(cls)}
        for section, cls in sections.items()
    }
    given["data"].setdefault("csv", take_dialect(dict(values)))
    given["flow"] |= {"event_size": len(values["event"]), "condition_size": len(values.get("condition", ()))}
    return RunConfig(**{section: cls(**given[section]) for section, cls in sections.items()})


def check_resumable(arguments: Arguments) -> None:
    """Raises `RunError` if a run is to be resumed that is not there, and nothing says how to start it."""
    if arguments.config is None and not (arguments.run / "config.json").exists():
        raise RunError(f"{arguments.run} holds no run to resume; start one with --input and --event")


def _parser() -> CommandParser:
    parser = CommandParser(
        "maf",
        DESCRIPTION,
        usage="%(prog)s --input FILES --event COLUMNS [--condition COLUMNS] --run DIR [options]",
        argument_default=argparse.SUPPRESS,
    )
    run = parser.add_argument_group("the run")
    run.add_argument("--run", required=True, metavar="DIR", help="run directory to write; must be new")
    run.add_argument("--resume", action="store_true", default=False, help="continue the run if it was cut short")
    add_config_options(parser)
    return parser


def flag_of(field: str) -> str:
    """The flag that sets a field of a configuration."""
    return {"data": "--input", "csv": "--csv_*", **{old.removeprefix("--"): new for old, new in OLD_NAMES.items()}}.get(
        field, f"--{field}"
    )


def add_config_options(parser: CommandParser) -> None:
    """Adds an option for everything in a `RunConfig`; none has a default, so that what was given can be told."""
    data = parser.add_argument_group("the data")
    data.add_argument(
        "--input",
        dest="data",
        action=Extend,
        type=names,
        nargs="+",
        metavar="FILES",
        help="Parquet or CSV files, or globs of them",
    )
    data.add_argument("--event", type=names, metavar="COLUMNS", help="event columns, x")
    data.add_argument("--condition", type=names, metavar="COLUMNS", help="conditional columns, c; none: unconditional")
    add_csv_flags(data)
    _add_options(data, DataConfig)
    _add_options(parser.add_argument_group("the flow"), FlowConfig)
    _add_options(parser.add_argument_group("the training"), TrainingConfig)
    parser.add_old_names(OLD_NAMES)


def _add_options(group: Any, cls: type) -> None:
    """A flag for each field of `cls` that has a help text."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if "help" not in field.metadata:
            continue
        default, kind = field.default, required_kind(hints[field.name])
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        shown = ("" if field.metadata["metavar"] else "automatic") if default is None else shown
        help_text = field.metadata["help"] + (f" (default {shown})" if shown != "" else "")
        options: dict[str, Any] = {"dest": field.name, "help": help_text}
        if kind == tuple[str, ...]:
            options |= {"action": Extend, "type": names, "nargs": "+", "metavar": field.metadata["metavar"]}
        else:
            parse: Callable[[str], Any] = integers if kind == tuple[int, ...] else kind
            choices = field.metadata["choices"]
            shown_as = None if choices else field.metadata["metavar"] or field.name.rsplit("_", maxsplit=1)[-1].upper()
            options |= {"type": parse, "choices": choices, "metavar": shown_as}
        group.add_argument(flag_of(field.name), **options)


def _field_names(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}
