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
from maf_serving.strict_json import required_kind

DESCRIPTION = """Trains a conditional masked autoregressive flow p(x | c) on a table and leaves a run directory.

  python -m maf --data train.parquet --event y0,y1 --condition c0,c1 --run runs/demo
  python -m maf --run runs/demo --resume"""


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


def parse_arguments(argv: Sequence[str] | None = None) -> Arguments:
    """Parses the command line; bad usage exits with status 2, a bad value raises `ConfigError`."""
    parser = _parser()
    values = vars(parser.parse_args(argv))
    run, resume = Path(values.pop("run")), values.pop("resume")
    if resume and not values:
        return Arguments(run, None, resume)
    if resume and "data" not in values:
        raise ConfigError(
            f"--resume came with --{next(iter(values))}; a run is resumed with its own options: give --run and "
            "--resume alone, or the command that started it with --resume added"
        )
    return Arguments(run, make_config(values, "--run DIRECTORY"), resume)


def make_config(values: Mapping[str, Any], others: str) -> RunConfig:
    """The configuration that the options of `add_config_options` say; what was not given keeps its default.

    Args:
      values: by option, those that were given.
      others: what else the command needs, for the error that says that `--data` or `--event` is missing.
    """
    for name in ("data", "event"):
        if name not in values:
            raise ConfigError(f"--{name} is missing; expected --data FILE ... --event COLUMN,... {others}")
    sections = {"data": DataConfig, "flow": FlowConfig, "training": TrainingConfig}
    given = {
        section: {name: value for name, value in values.items() if name in _field_names(cls)}
        for section, cls in sections.items()
    }
    given["flow"] |= {"event_size": len(values["event"]), "condition_size": len(values.get("condition", ()))}
    return RunConfig(**{section: cls(**given[section]) for section, cls in sections.items()})


def check_resumable(arguments: Arguments) -> None:
    """Raises `RunError` if a run is to be resumed that is not there, and nothing says how to start it."""
    if arguments.config is None and not (arguments.run / "config.json").exists():
        raise RunError(f"{arguments.run} holds no run to resume; start one with --data and --event")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m maf",
        usage="python -m maf --data FILE ... --event COLUMN,... [--condition COLUMN,...] --run DIRECTORY [options]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    run = parser.add_argument_group("the run")
    run.add_argument("--run", required=True, metavar="DIRECTORY", help="run directory to write; must be new")
    run.add_argument("--resume", action="store_true", default=False, help="continue the run if it was cut short")
    add_config_options(parser)
    return parser


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Adds an option for everything in a `RunConfig`; none has a default, so that what was given can be told."""
    data = parser.add_argument_group("the data")
    data.add_argument("--data", nargs="+", action=_Tuple, metavar="FILE", help="Parquet or CSV files, or globs of them")
    data.add_argument("--event", type=_names, metavar="COLUMN,...", help="event columns, x")
    data.add_argument(
        "--condition", type=_names, metavar="COLUMN,...", help="conditional columns, c; none: unconditional"
    )
    _add_options(data, DataConfig)
    _add_options(parser.add_argument_group("the flow"), FlowConfig)
    _add_options(parser.add_argument_group("the training"), TrainingConfig)


def _add_options(group: Any, cls: type) -> None:
    """A flag for each field of `cls` that has a help text."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if "help" not in field.metadata:
            continue
        default, kind = field.default, required_kind(hints[field.name])
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        shown = "automatic" if default is None else shown
        help_text = field.metadata["help"] + (f" (default {shown})" if shown != "" else "")
        flag = f"--{field.name}"
        if field.name in {"categorical", "nullable"}:
            group.add_argument(flag, type=_names, metavar="COLUMN,...", help=help_text)
            continue
        if kind == tuple[str, ...]:
            metavar = "COLUMN=WIDTH" if "COLUMN=WIDTH" in help_text else "FILE"
            group.add_argument(flag, nargs="+", action=_Tuple, metavar=metavar, help=help_text)
            continue
        parse: Callable[[str], Any] = _numbers if kind == tuple[int, ...] else kind
        choices = field.metadata["choices"]
        shown_as = None if choices else field.name.rsplit("_", maxsplit=1)[-1].upper()
        group.add_argument(flag, type=parse, choices=choices, metavar=shown_as, help=help_text)


class _Tuple(argparse.Action):
    """Keeps the values of a flag as a tuple."""

    def __call__(self, _parser: Any, namespace: Any, values: Any, _option: Any = None) -> None:
        setattr(namespace, self.dest, tuple(values))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number.strip())


def _field_names(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}
