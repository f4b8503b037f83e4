"""What a gate makes of a comparison; `test_against_local_server.py` makes real ones."""

import json
import subprocess

import pytest

from serving_config import JobError, UsageError
from serving_config.labels import gate as module
from serving_config.labels.gate import check_gate
from serving_config.labels.options import Gate, parse_rollout

FLAGS = ["promote", "--models_config", "models.config", "--model_name", "m", "--rest_url", "http://h:1"]


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Checks version 2 against version 1, of a comparison with these results; returns what was said."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()

    def run(*, status=0, stderr="", gate=None, previous=1, base=tmp_path, lost=0, **overall):
        def compare(command, **_):
            assert command[command.index("--model") + 1 :][:3] == [f"{tmp_path}/2", "--baseline", f"{tmp_path}/1"]
            found = {"nll_difference": 0.2, "standard_error": 0.01, "rows": 500, "loses_rows": False, **overall}
            found |= {"refused": {"model": lost}, "zero_density": {"model": 0}}
            summary = {"verdict": "worse" if status == 3 else "better", "rows_read": 510, "overall": found}
            output = command[command.index("--output") + 1]
            if status in {0, 3}:
                (tmp_path / "made").mkdir(exist_ok=True)
                module.Path(output).mkdir(parents=True)
                module.Path(output, "_summary.json").write_text(json.dumps(summary))
            return subprocess.CompletedProcess(command, status, "", stderr)

        monkeypatch.setattr(module.subprocess, "run", compare)
        said = []
        gate = gate or Gate(inputs=("test.parquet",))
        check_gate(gate, model_name="m", base_path=str(base), version=2, previous=previous, say=said.append)
        return said[1:]

    return run


def test_a_version_that_is_no_worse_passes(check):
    assert check(nll_difference=-0.2) == ["version 2 passes: mean NLL -0.2000 ± 0.0100 nats per row on 500 rows"]


def test_a_worse_version_passes_within_what_is_allowed(check):
    allowed = Gate(inputs=("test.parquet",), max_regression=0.3)
    assert check(status=3, gate=allowed)[0].startswith("version 2 passes: mean NLL +0.2000")
    with pytest.raises(
        JobError, match=r"worse than version 1: mean NLL \+0.2000 .* allows 0.1 nats. Nothing was changed"
    ):
        check(status=3, gate=Gate(inputs=("test.parquet",), max_regression=0.1))


def test_nothing_allows_for_rows_that_are_lost(check):
    allowed = Gate(inputs=("test.parquet",), max_regression=9)
    with pytest.raises(JobError, match="on 500 rows, and 10 rows of 510 lost; --max_regression"):
        check(status=3, gate=allowed, nll_difference=-1.0, loses_rows=True, lost=10)
    with pytest.raises(JobError, match="none of 510 rows has a density by both"):
        check(gate=allowed, nll_difference=None, rows=0)


def test_an_override_goes_on_and_says_so(check):
    (said,) = check(status=3, gate=Gate(inputs=("test.parquet",), on_worse="promote"))
    assert said.startswith("version 2 of model m is worse than version 1: mean NLL +0.2000")
    assert said.endswith("promoted all the same, for --override_gate")


def test_a_comparison_that_cannot_be_made_says_why(check, tmp_path):
    with pytest.raises(UsageError, match=r"--gate test\.parquet: no such column; no label has been moved"):
        check(status=2, stderr="warning: x\nerror: no such column\n")
    with pytest.raises(JobError, match="exit status -9"):
        check(status=-9)
    with pytest.raises(UsageError, match="it is on none yet"):
        check(previous=None)
    with pytest.raises(UsageError, match=r"/nowhere/2 is no directory of this machine; .* --model"):
        check(base="/nowhere")
    here = Gate(inputs=("test.parquet",), model_base=str(tmp_path))
    assert check(base="/nowhere", gate=here, nll_difference=-0.2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_regression", "0.1"], "--max_regression came without --gate"),
        (["--override_gate", "--gate_output", "d"], "--override_gate, --gate_output came without --gate"),
        (["--gate", "t.parquet", "--max_regression", "-1"], "expected nats per row, at least 0"),
        (["--gate", ""], "expected paths or globs"),
    ],
)
def test_flags_of_a_gate(flags, message):
    with pytest.raises(UsageError, match=message):
        parse_rollout([*FLAGS, *flags])
    with pytest.raises(UsageError, match="no meaning for rollback"):
        parse_rollout(["rollback", *FLAGS[1:], "--gate", "t.parquet"])
