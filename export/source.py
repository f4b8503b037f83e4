"""Where the model to export comes from: a run of ours, or a checkpoint with a function that builds the model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.builder import parse_builder
from export.contract import ConditionColumn, check_columns
from export.errors import OptionError
from maf.run_directory import RunDirectory
from maf_serving.errors import ContractError
from maf_serving.strict_json import parse_json, read_value

if TYPE_CHECKING:
    from export.saved_model import ExportedVersion


@dataclasses.dataclass(frozen=True, slots=True)
class RunSource:
    """The directory of a finished run. Raises `RunError` if it is none."""

    run: Path

    def __post_init__(self) -> None:
        RunDirectory(self.run).read_summary()

    def export(self, model_base: str, **options: Any) -> ExportedVersion:
        """Exports it; TensorFlow is loaded here."""
        from export.exports import export_run  # noqa: PLC0415

        return export_run(self.run, model_base, **options)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSource:
    """A builder, a checkpoint, and the columns; those of the condition by name, or raw ones."""

    builder: str
    checkpoint: Path
    event: tuple[str, ...]
    condition: tuple[str, ...] = ()
    condition_columns: tuple[ConditionColumn, ...] = ()

    def __post_init__(self) -> None:
        parse_builder(self.builder)
        check_columns(self.event, self.condition or [column.name for column in self.condition_columns])

    def export(self, model_base: str, **options: Any) -> ExportedVersion:
        """Exports it; TensorFlow is loaded here."""
        from export.exports import export_checkpoint  # noqa: PLC0415

        return export_checkpoint(
            self.builder,
            self.checkpoint,
            model_base,
            event_columns=self.event,
            conditional_columns=self.condition,
            condition_columns=self.condition_columns,
            **options,
        )


def read_source(
    *,
    run: Path | None,
    builder: str | None,
    checkpoint: Path | None,
    event: tuple[str, ...] | None,
    condition: tuple[str, ...] | None,
    condition_spec: Path | None,
) -> RunSource | CheckpointSource:
    """The source that the options of the command name. Raises `OptionError` if they name none, or two."""
    others = {
        "builder": builder,
        "checkpoint": checkpoint,
        "event": event,
        "condition": condition,
        "condition_spec": condition_spec,
    }
    given = [f"--{name}" for name, value in others.items() if value is not None]
    if run is not None:
        if given:
            raise OptionError(
                f"--run came with {', '.join(given)}; a run knows its model and columns: give --run alone"
            )
        return RunSource(run)
    if builder is None or checkpoint is None or event is None:
        raise OptionError(
            f"got {', '.join(given) or 'no model'}; expected --run DIR, or --builder package.module:function "
            "--checkpoint PATH --event COLUMNS [--condition COLUMNS | --condition_spec FILE]"
        )
    if condition is not None and condition_spec is not None:
        raise OptionError(
            "got --condition and --condition_spec; expected --condition for plain numbers, or --condition_spec "
            "for all columns where categories or nulls are among them"
        )
    return CheckpointSource(
        builder=builder,
        checkpoint=checkpoint,
        event=event,
        condition=condition or (),
        condition_columns=read_condition_columns(condition_spec) if condition_spec is not None else (),
    )


def read_condition_columns(path: Path) -> tuple[ConditionColumn, ...]:
    """The columns in the file, in order.

        [{"name": "season"}, {"name": "region", "kind": "string", "vocabulary": ["north", "south"], "nullable": true}]

    Raises:
      OptionError: if the file cannot be read, or is no such list.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"), "file", error=ContractError)
        columns: tuple[ConditionColumn, ...] = read_value(
            tuple[ConditionColumn, ...], data, "the file", error=ContractError
        )
    except OSError as error:
        raise OptionError(f"condition_columns {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of UTF-8, of JSON, of a column
        raise OptionError(
            f'condition_columns {path}: {error}; expected a JSON list such as [{{"name": "season"}}, '
            '{"name": "region", "kind": "string", "vocabulary": ["north", "south"], "nullable": true}]'
        ) from error
    if not columns:
        raise OptionError(f"condition_columns {path} has no columns; leave it out for an unconditional model")
    return columns
