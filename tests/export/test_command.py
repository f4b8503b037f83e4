"""`python -m export` and what importing the package costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import export
from export import __main__ as command
from export import read_contract
from export.signatures import read_warmup
from maf_serving.batching import BATCHING_PATH, BatchingParameters

LOADED = (
    "import sys, json; print(json.dumps(sorted(m for m in sys.modules if m in {'tensorflow', 'numpy', 'tf_keras'})))"
)


def python(*arguments):
    """As a user who has set no log level."""
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=env)


@pytest.mark.parametrize(
    "code", ["import export", "import export.contract", "from export import read_contract, ExportError"]
)
def test_importing_loads_neither_tensorflow_nor_numpy(code):
    result = python("-c", f"{code}\n{LOADED}")
    assert json.loads(result.stdout) == []


def test_public_names():
    assert export.__all__ == sorted(export.__all__)
    for name in export.__all__:
        assert getattr(export, name).__name__ == name
    assert set(export.__all__) <= set(dir(export))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        export.nothing  # noqa: B018


def test_help_needs_no_tensorflow():
    code = f"""import sys, runpy
sys.argv = ["export", "--help"]
try:
    runpy.run_module("export", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
{LOADED}"""
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    assert "--model DIR" in result.stdout
    assert json.loads(result.stdout.splitlines()[-1]) == []


def test_exports_a_run(run, tmp_path):
    base = tmp_path / "models" / "demo"
    options = ["--warmup_batch_sizes", "1,5", "--per_model_batching", "--max_batch_size", "8"]
    result = python("-m", "export", "--run", str(run), "--model_base", str(base), "--version", "3", *options)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        "starting TensorFlow, and reading the model",
        "compiling the model and tracing 17 signatures",
        "writing the SavedModel and its warm-up requests",
        "verifying it in a fresh process, against the model in TensorFlow Probability",
        "publishing it",
        f"next     maf-serving serve --model {base} --model_name demo",
        f"         maf-serving score --model {base} --input FILES --output out/demo/scores",
    ]
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["signature", "output", "loader", "rows"]
    assert lines[-1] == f"version: {base / '3'}"
    contract = read_contract(base / "3")
    assert (contract.event_columns, contract.conditional_columns) == (("y",), ("c0", "c1"))
    assert contract.training.test_nll == 1.25
    assert (base / "3" / BATCHING_PATH).read_text() == BatchingParameters(max_batch_size=8).to_text()
    warmup = read_warmup(base / "3")
    assert sorted({len(next(iter(request.inputs.values()))) for request in warmup}) == [1, 5]


def test_usage_errors_are_one_line_and_status_2(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "models" / "3").mkdir(parents=True)
    base = str(tmp_path / "models")
    good = ["--run", str(run), "--model_base", base]
    for arguments, message in [
        (["--run", str(tmp_path / "none"), "--model_base", base], "expected a run directory"),
        (["--run", str(run), "--model_base", base, "--version", "3"], "version 3 exists"),
        ([*good, "--max_batch_size", "8"], "--max_batch_size has no effect without --enable_batching"),
        ([*good, "--per_model_batching", "--allowed_batch_sizes", "2,4"], "must equal max_batch_size"),
        ([*good, "--warmup_batch_sizes", "0"], "warmup_batch_sizes is 0"),
    ]:
        monkeypatch.setattr(sys, "argv", ["export", *arguments])
        assert command.main() == 2
        *_progress, error = capsys.readouterr().err.splitlines()
        assert error.startswith("error: ")
        assert message in error


def test_a_failed_export_has_status_1(run, tmp_path, monkeypatch, capsys):
    (run / "weights.npz").write_bytes(b"damaged")
    monkeypatch.setattr(sys, "argv", ["export", "--run", str(run), "--model_base", str(tmp_path / "models")])
    assert command.main() == 1
    assert "weights.npz" in capsys.readouterr().err
