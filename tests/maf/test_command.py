import json
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import mean_nll, read_run
from maf.errors import RunError
from tests.forked import DEVNULL, PIPE, Forked, run_python
from tests.waiting import SOON, until

SMALL = [
    "--num_layers",
    "1",
    "--jit_compile",
    "off",
    "--condition_units",
    "8",
    "--batch_size",
    "64",
    "--checkpoint_seconds",
    "0.05",
]


def maf(*arguments):
    return run_python("-m", "maf", *arguments)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    c = rng.uniform(50, 60, 5_000)
    y = 3_000 + 10 * (c - 55) * rng.choice([-1, 1], 5_000) + rng.normal(size=5_000)
    y[:7] = np.nan
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    pq.write_table(pa.table({"y": y, "c": c, "name": ["n"] * 5_000, "one": np.ones(5_000)}), path)
    return path


def test_help_answers_without_tensorflow():
    code = "import sys; from maf.arguments import parse_training\ntry: parse_training(['--help'])\nexcept SystemExit: "
    result = subprocess.run(
        [sys.executable, "-c", code + "sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0
    assert "--learning_rate_schedule" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "none.csv", "--event", "y"], "no file matches 'none.csv'"),
        (["--data", "TABLE", "--event", "y,z"], "has no column 'z'; its columns: y, c, name, one"),
        (
            ["--data", "TABLE", "--event", "name", "--condition", "c"],
            "row 0 (from 0): name: not a number: 'n'; expected numbers",
        ),
        (["--data", "TABLE", "--event", "y", "--categorical", "c"], "categorical has 'c'"),
        (["--data", "TABLE", "--event", "one", "--condition", "c"], "event column 'one' is constant, 1"),
        (["--data", "TABLE", "--event", "y", "--dequantize", "c=1"], "dequantize has c=1"),
        (["--data", "TABLE", "--event", "y", "--max_dropped_share", "0.001"], "7 of 5,000 rows"),
        (["--data", "TABLE", "--event", "y", "--num_layers", "0"], "num_layers is 0"),
        (["--data", "TABLE", "--event", "y", "--layers", "2"], "'--layers'; did you mean --num_layers?"),
        (["--event", "y"], "--input is missing"),
        (["--resume"], "holds no run to resume"),
    ],
)
def test_bad_input_is_one_line_and_status_2(table, tmp_path, arguments, message):
    run = tmp_path / "run"
    result = maf(*[table if argument == "TABLE" else argument for argument in arguments], "--run", run)
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert message in line
    assert "error: " in line
    assert "Traceback" not in result.stderr
    assert not run.exists()


def test_a_run_that_is_there_is_not_touched(table, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = maf("--data", table, "--event", "y", "--run", tmp_path)
    assert result.returncode == 2
    assert "exists; name a new one" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_killed_run_resumes_to_what_it_would_have_been(table, tmp_path):
    options = ["--data", table, "--event", "y", "--condition", "c", *SMALL, "--max_epochs", "12"]
    whole = maf(*options, "--run", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    assert "warning: 7 rows dropped" in whole.stderr
    assert "test NLL" in whole.stdout

    run = tmp_path / "killed"
    command = [sys.executable, "-m", "maf", *map(str, options), "--run", str(run), "--resume"]
    for marker in ("rows/training.rows", "state.npz", "history.jsonl"):
        with Forked(command, stdout=DEVNULL, stderr=DEVNULL) as process:
            while process.poll() is None and not (run / marker).exists():
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        with pytest.raises(RunError, match="not finished"):
            read_run(run)
    finished = maf("--run", run, "--resume")
    assert finished.returncode == 0, finished.stderr

    summaries = [json.loads((path / "summary.json").read_text()) for path in (tmp_path / "whole", run)]
    assert summaries[0]["test_nll"] == pytest.approx(summaries[1]["test_nll"], abs=0.02)
    assert summaries[0]["epochs"] == summaries[1]["epochs"]
    assert sorted(path.name for path in run.iterdir()) == [
        "config.json",
        "history.jsonl",
        "profile.json",
        "summary.json",
        "tensorboard",
        "weights.npz",
    ]

    loaded = read_run(run)
    assert (loaded.event_columns, loaded.conditional_columns) == (("y",), ("c",))
    rows = np.array([[3_000.0, 55.0], [3_040.0, 59.0]], np.float32)
    assert np.isfinite(mean_nll(loaded.distribution, rows, event_size=1)[0])

    again = maf("--run", run, "--resume")
    assert (again.returncode, "nothing to resume" in again.stderr) == (0, True)
    other = maf(*options, "--run", run, "--resume", "--num_bins", "4")
    assert (other.returncode, "--num_bins is 4 but run" in other.stderr) == (2, True)


INTERRUPTED = [
    (signal.SIGINT, "config.json", "split_table"),
    (signal.SIGINT, "rows/rows.json", "fit"),
    (signal.SIGTERM, "history.jsonl", None),
]


@pytest.mark.parametrize(("number", "marker", "slow"), INTERRUPTED)
def test_an_interrupted_run_says_what_is_there(table, tmp_path, number, marker, slow):
    run = tmp_path / "run"
    options = ["--data", table, "--event", "y", "--condition", "c", *SMALL, "--max_epochs", "500", "--run", run]
    code = "import signal, sys, time, maf.__main__, maf.train\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
    if slow is not None:  # while the rows are read, or before anything is trained
        code += f"maf.train.{slow} = lambda *_, **__: time.sleep(60)\n"
    command = [sys.executable, "-c", f"{code}sys.exit(maf.__main__.main())", *map(str, options)]
    with Forked(command, stdout=DEVNULL, stderr=PIPE) as process:
        until((run / marker).exists, of=process)
        process.send_signal(number)
        told = process.communicate(timeout=SOON)[1].splitlines()[-1]
    assert process.returncode == 128 + number
    if slow is not None:
        assert told == "error: interrupted by SIGINT; nothing was written"
        assert not run.exists()
        return
    assert told.startswith(f"error: interrupted by SIGTERM; {run} has ")
    assert told.endswith(f"; go on with: maf-serving train --run {run} --resume")
    assert maf("--run", run, "--resume", "--max_epochs", "1").returncode == 2
    assert json.loads((run / "config.json").read_text())["training"]["max_epochs"] == 500
