import dataclasses
import json
import sys
from pathlib import Path

import pytest

from export import CheckpointSource, ConditionColumn, ContractError, OptionError, RunSource
from export import __main__ as command
from export.source import read_source

NOTHING = dict.fromkeys(("run", "builder", "checkpoint", "event", "condition", "condition_spec"))
OWN = {"builder": "flows:build", "checkpoint": Path("ckpt"), "event": ("x0",)}


def test_a_run_or_a_checkpoint(run):
    assert read_source(**{**NOTHING, "run": run}) == RunSource(run)
    source = read_source(**{**NOTHING, **OWN})
    assert isinstance(source, CheckpointSource)
    assert source.condition_columns == ()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({}, OptionError, "got no model; expected --run DIR, or --builder"),
        ({"builder": "flows:build", "event": ("x0",)}, OptionError, "got --builder, --event; expected"),
        (
            {**OWN, "run": Path("runs/demo")},
            OptionError,
            "--run came with --builder, --checkpoint, --event; a run knows",
        ),
        ({**OWN, "builder": "flows.py"}, OptionError, "builder is 'flows.py'; expected package.module:function"),
        ({**OWN, "condition": ("x0",)}, ContractError, "x0"),
        ({**OWN, "event": ()}, ContractError, "event"),
        (
            {**OWN, "condition": ("c0",), "condition_spec": Path("columns.json")},
            OptionError,
            "got --condition and --condition_spec; expected",
        ),
    ],
)
def test_what_names_no_model_is_refused(options, kind, message):
    with pytest.raises(kind) as caught:
        read_source(**{**NOTHING, **options})
    assert message in str(caught.value)


def test_raw_columns_come_from_a_file_as_a_contract_has_them(tmp_path):
    columns = (
        ConditionColumn(name="season"),
        ConditionColumn(name="region", kind="string", vocabulary=("north", "süd"), nullable=True),
        ConditionColumn(name="store", kind="integer", vocabulary=(7, 12)),
    )
    path = tmp_path / "columns.json"
    path.write_text(json.dumps([dataclasses.asdict(column) for column in columns]), encoding="utf-8")
    assert read_source(**{**NOTHING, **OWN, "condition_spec": path}).condition_columns == columns
    with pytest.raises(ContractError, match="season"):
        read_source(**{**NOTHING, **OWN, "event": ("season",), "condition_spec": path})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "expected a JSON list such as"),
        ('{"name": "c0"}', "the file is {'name': 'c0'}; expected list"),
        ('[{"name": "c0"}, {"kind": "string"}]', "[1] lacks the key 'name'"),
        ('[{"name": "c0", "vocabulary": ["a"]}]', "is a number with a vocabulary of 1 values"),
        ("[]", "has no columns; leave it out"),
    ],
)
def test_a_file_that_lists_no_columns_is_refused(tmp_path, text, message):
    path = tmp_path / "columns.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionError) as caught:
        read_source(**{**NOTHING, **OWN, "condition_spec": path})
    assert str(caught.value).startswith(f"condition_columns {path}")
    assert message in str(caught.value)


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, monkeypatch, capsys):
    own = ["--builder", "absent:build", "--event", "x0", "--model_base", str(tmp_path / "models")]
    for arguments, message in [
        (["--model_base", str(tmp_path)], "got no model"),
        ([*own, "--checkpoint", str(tmp_path / "none")], "none is not there; expected the directory or the prefix"),
        ([*own, "--checkpoint", str(tmp_path)], "builder 'absent:build' cannot be imported: ModuleNotFoundError"),
    ]:
        monkeypatch.setattr(sys, "argv", ["export", *arguments])
        assert command.main() == 2
        *_progress, error = capsys.readouterr().err.splitlines()
        assert error.startswith("error: ")
        assert message in error
