"""`python -m export.verify` on versions that are right, wrong or none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from export import RunSource, export_model, read_contract, saved_model
from export import verify as command
from export.contract import CONTRACT_PATH
from export.signatures import WARMUP_PATH
from export.verification import verification
from export.verification.replay import Replies, answer_object, answer_session
from maf.run_directory import read_arrays, write_arrays
from tests.export.conftest import replay_by


@pytest.fixture(autouse=True)
def replay_here(monkeypatch):
    """Both loaders, in this process, which saves seconds."""
    replay_by(
        monkeypatch,
        lambda path, requests: Replies(answer_object(str(path), requests) | answer_session(str(path), requests)),
    )


@pytest.fixture
def version(run, tmp_path, monkeypatch):
    """The run's version 1, not verified yet."""
    with monkeypatch.context() as patch:
        patch.setattr(saved_model, "verify", lambda *_: verification.VerificationReport(()))
        patch.setattr(verification.VerificationReport, "require_agreement", lambda _: None)
        return export_model(RunSource(run).load(), tmp_path / "models").version_dir


def verify(monkeypatch, capsys, *arguments):
    """The exit status, what is printed, and what is said beside the progress."""
    monkeypatch.setattr(sys, "argv", ["export.verify", *map(str, arguments)])
    status, printed = command.main(), capsys.readouterr()
    said = [line for line in printed.err.splitlines(keepends=True) if not line.startswith("starting TensorFlow, ")]
    return status, SimpleNamespace(out=printed.out, err="".join(said))


def test_a_version_of_a_run(version, run, monkeypatch, capsys):
    """The base directory means its newest version."""
    status, printed = verify(monkeypatch, capsys, "--version_dir", version.parent, "--run", run)
    assert (status, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert lines[0].split()[:4] == ["signature", "output", "loader", "rows"]
    assert {line.split()[0] for line in lines[1:-4]} == {
        "log_prob", "serving_default", "sample", "sample_with_seed", "inverse", "forward", "regress",
        "cdf", "quantile", "summarize",
    }  # fmt: skip
    assert lines[-2] == "training ranges: of 3 columns (y, c0, c1), 100 rows"
    assert {"in_range", "in_range_columns"} < read_contract(version).signatures.keys()
    assert lines[-1] == f"verified: {version} computes what {run} computes"


@pytest.mark.parametrize("flow", ["nested_chain", "unconditional", "double", "mixture"])
def test_a_version_by_itself(export_here, monkeypatch, capsys, flow):
    version_dir = export_here(flow).version_dir
    status, printed = verify(monkeypatch, capsys, "--version_dir", version_dir, "--seed", "3")
    assert (status, printed.err) == (0, "")
    assert printed.out.endswith(f"verified: {version_dir} is consistent with itself\n")


def test_a_version_without_warm_up_records(export_here, tmp_path, monkeypatch, capsys):
    copy = shutil.copytree(export_here("nested_chain").version_dir, tmp_path / "1")
    (copy / WARMUP_PATH).unlink()
    assert verify(monkeypatch, capsys, "--version_dir", copy)[0] == 0


def test_another_run_has_status_1_and_the_table(version, run, monkeypatch, capsys):
    arrays = read_arrays(run / "weights.npz")
    write_arrays(run / "weights.npz", {name: value + 0.01 for name, value in arrays.items()})
    status, printed = verify(monkeypatch, capsys, "--version_dir", version, "--run", run)
    assert status == 1
    assert printed.out.startswith("signature")
    assert printed.err.startswith("error: signature ")
    assert "times what rounding explains" in printed.err


def test_a_damaged_version_has_status_1(version, monkeypatch, capsys):
    (version / "variables" / "variables.index").unlink()
    status, printed = verify(monkeypatch, capsys, "--version_dir", version)
    assert status == 1
    assert printed.err.startswith(f"error: {version} does not load: ")
    assert printed.err.count("\n") == 1


def test_usage_errors_are_one_line_and_status_2(version, run, export_here, tmp_path, monkeypatch, capsys):
    other = export_here("nested_chain").version_dir
    for arguments, message in [
        (["--version_dir", tmp_path / "none"], "does not exist"),
        (["--version_dir", version, "--run", tmp_path / "none"], "expected a run directory"),
        (["--version_dir", other, "--run", run], "has columns y given c0, c1; the version has x0, x1, x2 given c0, c1"),
    ]:
        status, printed = verify(monkeypatch, capsys, *arguments)
        assert status == 2
        assert message in printed.err
        assert printed.err.count("\n") == 1
    (version / CONTRACT_PATH).unlink()
    status, printed = verify(monkeypatch, capsys, "--version_dir", version)
    assert status == 2
    assert "expected a version written by" in printed.err


def test_help_needs_no_tensorflow():
    code = """import sys
from export import verify
sys.argv = ["verify", "--help"]
try:
    verify.main()
except SystemExit as end:
    sys.exit(end.code or 3 * ("tensorflow" in sys.modules))"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--model DIR" in result.stdout


def test_a_version_that_lacks_a_signature(version, monkeypatch, capsys):
    contract = json.loads((version / CONTRACT_PATH).read_text(encoding="utf-8"))
    del contract["signatures"]["forward"]
    (version / CONTRACT_PATH).write_text(json.dumps(contract), encoding="utf-8")
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    del saved.meta_graphs[0].signature_def["forward"]
    (version / "saved_model.pb").write_bytes(saved.SerializeToString())
    status, printed = verify(monkeypatch, capsys, "--version_dir", version)
    assert (status, printed.out) == (1, "")
    assert "no signature 'forward'" in printed.err
    assert len(printed.err.splitlines()) == 1
