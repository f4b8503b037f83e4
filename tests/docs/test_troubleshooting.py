"""docs/troubleshooting.md: every message is one that a command or the local server can say."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.forked import run_python

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
PACKAGES = ("maf_serving", "maf", "export", "beam_jobs", "serving_config")
BY_THE_SYSTEM = {"No space left on device", "failed to connect to all addresses"}  # the second is gRPC's
ROWS = re.findall(r"^\| `([^|]+)` \|", GUIDE.partition("Without a message")[0], re.MULTILINE)


@functools.cache
def said():
    """Every text in our sources, with `…` for what is filled in."""
    texts = []
    for name in PACKAGES:
        for path in (ROOT / name).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                    texts.append("".join(parts))
    return texts


def covers(text, message):
    """Whether a text, with its gaps filled somehow, holds the message, with its gaps filled somehow."""
    fragments = [fragment.strip() for fragment in message.split("…") if len(fragment.strip()) > 2]
    pattern = ".*".join(".*".join(map(re.escape, fragment.split("…"))) for fragment in fragments)
    return re.search(pattern, text, re.DOTALL) is not None


def test_the_guide_has_messages():
    assert len(ROWS) > 40


@pytest.mark.parametrize("message", ROWS)
def test_the_message_is_one_of_ours(message):
    assert message in BY_THE_SYSTEM or any(covers(text, message) for text in said())


def run(*arguments):
    return run_python(*arguments, cwd=ROOT, timeout=120)


def as_pattern(message):
    return ".*".join(re.escape(part) for part in message.split("…"))


COMMANDS = {
    "… matches no file; expected a path or a glob, comma separated if several": (
        "beam_jobs.score --model {model} --input {here}/none.csv --output {here}/out"
    ),
    "… is a directory without a file that ends in …": (
        "beam_jobs.score --model {model} --input {here} --output {here}/out"
    ),
    "cannot be read (…); expected a version written by": "export.verify --version_dir {here}/bare",
    "is one version, and --version_policy … came too": (
        "serving_config --model {model} --model_name m --version_policy all --output {here}/out"
    ),
    "cannot be reached: …": "serving_config.client status --rest_url http://localhost:1 --model_name m",
}


@pytest.mark.parametrize("message", COMMANDS)
def test_a_command_says_it(message, tmp_path):
    assert message in ROWS
    for name in ("bare", "models/m/1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "saved_model.pb").touch()
    contract = tmp_path / "models" / "m" / "1" / "assets.extra" / "contract.json"
    contract.parent.mkdir()
    contract.write_text(
        '{"event_columns": ["x"], "conditional_columns": [], "dtype": "float32", "toolkit_version": "1",'
        ' "tensorflow_version": "1", "training": null, "signatures": {"log_prob": {"inputs": {"x": {"dtype":'
        ' "float32", "shape": [null, 1]}}, "outputs": {"log_prob": {"dtype": "float32", "shape": [null]}},'
        ' "method_name": "tensorflow/serving/predict"}}}'
    )
    done = run("-m", *COMMANDS[message].format(here=tmp_path, model=contract.parents[1]).split())
    assert done.returncode in (1, 2)
    assert re.search(as_pattern(message), done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1
