"""A scoring job, killed or failed at every system call that changes something beside or in its output."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.faults import system_calls
from tests.faults.conftest import ENV, NULL_ROW, ROOT, ROWS
from tests.faults.system_calls import Fail, Kill

DRIVER = Path(__file__).with_name("score_again.py")
ERRORS = dict.fromkeys(("rename", "renameat2", "unlink", "rmdir", "unlinkat"), errno.EACCES)

pytestmark = [pytest.mark.usefixtures("watched"), pytest.mark.faults]


def score(root, flags, count, decide):
    """Scores to `root/1/scores`, `root/2/scores`, ...; status and standard error of each."""
    for number in range(1, count + 1):
        (root / str(number)).mkdir(exist_ok=True)
    command = [sys.executable, str(DRIVER), str(count), *flags(f"{root}/{{}}/scores")]
    ended = system_calls.run(command, beneath=root, decide=decide, env=ENV)
    return ended, [json.loads(line) for line in ended.stdout.splitlines()]


def rows_of(output):
    """Every row of an output by what became of it, after its summary has been believed."""
    summary = json.loads((output / "_summary.json").read_text())
    listed = {"_summary.json", *summary["output_files"]}
    assert {path.name for path in output.iterdir()} == listed
    rows = {
        kind: sorted(row for path in output.glob(f"{kind}-*") for row in pq.read_table(path)["row"].to_pylist())
        for kind in ("scored", "rejected")
    }
    assert summary["rows_read"] == summary["rows_scored"] + summary["rows_rejected"] == ROWS
    return rows


EVERY_ROW = {"scored": [row for row in range(ROWS) if row != NULL_ROW], "rejected": [NULL_ROW]}
KINDS = {"first": [], "again": ["--overwrite"], "shards": ["--num_shards=2"]}


def prepare(root, kind, score_flags):
    """An earlier output, where there is one; its time."""
    (root / "1").mkdir()
    if kind != "again":
        return None
    _, (outcome,) = score(root, score_flags, 1, lambda _: None)
    assert outcome["status"] == 0, outcome
    return stamp(root / "1" / "scores")


def stamp(output):
    """What tells one output from another."""
    return json.loads((output / "_summary.json").read_text())["seconds"], sorted(
        p.stat().st_ino for p in output.iterdir()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_at_every_moment_the_output_is_whole_or_the_earlier_one(kind, score_flags, tmp_path):
    earlier = prepare(tmp_path, kind, score_flags)
    output = tmp_path / "1" / "scores"
    found = []

    def look(_):
        found.append(stamp(output) if output.exists() else None)
        if output.exists():
            assert rows_of(output) == EVERY_ROW

    _, (outcome,) = score(tmp_path, lambda out: score_flags(out, *KINDS[kind]), 1, look)
    assert outcome["status"] == 0, outcome
    assert len(found) > 12
    assert set(map(str, found)) <= {str(earlier), str(stamp(output))}
    assert rows_of(output) == EVERY_ROW
    assert [path.name for path in output.parent.iterdir()] == ["scores"]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_call_fails_the_job_says_so_and_leaves_nothing(kind, score_flags, tmp_path):
    counted, attempts = tmp_path / "counted", tmp_path / "attempts"
    counted.mkdir()
    attempts.mkdir()
    earlier = prepare(counted, kind, score_flags)
    template = tmp_path / "template"
    shutil.copytree(counted / "1", template)
    calls = []
    score(counted, lambda out: score_flags(out, *KINDS[kind]), 1, calls.append)
    for number in range(1, len(calls) + 1):
        shutil.copytree(template, attempts / str(number))
    seen: Counter[str] = Counter()

    def fail_one(change):
        number = Path(change.path).relative_to(attempts).parts[0]
        seen[number] += 1
        return Fail(ERRORS.get(change.call, errno.ENOSPC)) if seen[number] == int(number) else None

    _, outcomes = score(attempts, lambda out: score_flags(out, *KINDS[kind]), len(calls), fail_one)
    assert len(outcomes) == len(calls)
    for number, outcome in enumerate(outcomes, start=1):
        told = outcome["stderr"]
        if outcome["status"] == 0:  # the files of the earlier output could not be deleted: the next job does it
            assert calls[number - 1].call in {"unlink", "unlinkat", "rmdir"}
            assert rows_of(attempts / str(number) / "scores") == EVERY_ROW
            continue
        assert (outcome["status"], told.startswith("error: "), told.count("\n")) in ((1, True, 1), (2, True, 1)), told
        there = [path.name for path in (attempts / str(number)).iterdir()]
        assert there == ([] if earlier is None else ["scores"]), calls[number - 1]
        if earlier is not None:
            assert rows_of(attempts / str(number) / "scores") == EVERY_ROW


@pytest.mark.parametrize("kind", ["first", "again"])
def test_killed_at_every_call_and_run_again(kind, score_flags, tmp_path):
    """Real kills: a process each, so every second call, and the last four."""
    earlier = prepare(tmp_path, kind, score_flags)
    output = tmp_path / "1" / "scores"
    flags = lambda out: score_flags(out, "--overwrite")  # noqa: E731  # short, and used at once
    calls = []
    shutil.copytree(tmp_path / "1", tmp_path / "template")
    score(tmp_path, flags, 1, calls.append)
    for last in sorted({*range(1, len(calls) + 1, 2), *range(len(calls) - 3, len(calls) + 1)}):
        shutil.rmtree(tmp_path / "1")
        shutil.copytree(tmp_path / "template", tmp_path / "1")
        ended, _ = score(tmp_path, flags, 1, lambda change, last=last: Kill() if change.number == last else None)
        assert ended.returncode == -signal.SIGKILL
        assert output.exists() == (earlier is not None)
        for new in (tmp_path / "1").glob("scores.new-*"):
            os.utime(new, (0, 0))  # as if a minute had passed
        _, (outcome,) = score(tmp_path, flags, 1, lambda _: None)
        assert outcome["status"] == 0, outcome
        assert rows_of(output) == EVERY_ROW
        assert [path.name for path in output.parent.iterdir()] == ["scores"], last


def test_killed_at_random_moments_and_run_again(score_flags, tmp_path):
    """With the clock, not with the calls: workers, gRPC and all."""
    output = tmp_path / "scores"
    rng = np.random.default_rng()
    command = [sys.executable, "-m", "beam_jobs.score", *score_flags(output, "--overwrite", "--batch_size=1")]
    for _ in range(6):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(rng.uniform(1.0, 5.0))
        process.kill()
        process.wait(30)
        if output.exists():
            assert rows_of(output) == EVERY_ROW
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert rows_of(output) == EVERY_ROW
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("scores.new-")] == ["scores"]
