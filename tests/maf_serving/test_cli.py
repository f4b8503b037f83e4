"""The program `maf-serving`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from maf_serving import cli
from tests.docs.commands import ROOT

HEAVY = {"numpy", "pyarrow", "tensorflow", "tensorflow_probability", "apache_beam", "grpc", "google.protobuf", "optuna"}


def called(*arguments):
    """Exit status, both outputs, and which heavy modules were loaded, of the program."""
    code = f"""
import json, sys
sys.argv = ["/usr/bin/maf-serving", *{list(arguments)!r}]
from maf_serving.cli import main
try:
    status = main()
except SystemExit as end:
    status = end.code or 0
print(json.dumps([status, sorted({HEAVY!r} & set(sys.modules))]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *out, last = done.stdout.splitlines()
    status, loaded = json.loads(last)
    return status, "\n".join(out), done.stderr, loaded


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_every_command_is_instant_and_shows_the_name_that_was_called(command):
    status, out, err, loaded = called(command, "--help")
    assert (status, err, loaded) == (0, "", [])
    assert out.startswith(f"usage: maf-serving {command} ")
    assert "python -m" not in out
    for old in ("--data ", "--model_base ", "--batch_size ", "--endpoint", "--conditional_columns", "--version_dir"):
        assert old not in out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_misspelt_flag_of_every_command_is_one_line_that_says_what_was_meant(command):
    flag = {"train": "--event", "search": "--event", "report": "--run", "rollout": "--model_name"}.get(
        command, "--model"
    )
    status, out, err, loaded = called(command, f"{flag}l", "x")
    assert (status, out, loaded) == (2, "", [])
    assert err == f"error: unknown argument '{flag}l'; did you mean {flag}?\n"


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",), ("-h",)])
def test_help_lists_every_command(arguments):
    status, out, _, loaded = called(*arguments)
    assert (status, loaded) == (0, [])
    assert out.startswith("usage: maf-serving COMMAND")
    assert all(f"\n  {command} " in out for command in cli.COMMANDS)


def test_help_of_a_command_by_its_name():
    assert called("help", "score")[1] == called("score", "--help")[1]


def test_version():
    assert called("--version")[:3] == (0, f"maf-serving {version('maf-serving')}", "")


def test_a_command_that_is_none():
    assert called("scoer")[::2] == (2, "error: unknown command 'scoer'; did you mean score? (see maf-serving --help)\n")
    assert called("xyz")[2].startswith("error: unknown command 'xyz'; expected one of train, search, report, ")


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "maf_serving", "score"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the following arguments are required: --model, --input, --output")
    assert done.stderr.endswith("(see maf-serving score --help)\n")


def test_every_command_is_a_module_too():
    for module, _ in cli.COMMANDS.values():
        name = module.removesuffix(".__main__")
        done = subprocess.run(
            [sys.executable, "-m", name, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(f"usage: python -m {name} ")
