"""The export, killed or failed at every system call that changes something in the model's base directory.

What is on disk before a call is what a kill at that call leaves: so one run shows every such state, and some are made
by a real SIGKILL, to see that they are the same.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from export.publish import publish, staging_directory
from tests.faults import system_calls
from tests.faults.conftest import ENV
from tests.faults.system_calls import Fail, Kill
from tests.faults.trees import tree

DRIVER = Path(__file__).with_name("export_again.py")
ERRORS = {"fsync": errno.EIO, "rename": errno.EACCES, "rmdir": errno.EACCES, "unlink": errno.EACCES}

pytestmark = [pytest.mark.usefixtures("watched"), pytest.mark.faults]


def export(root, count, decide):
    """Exports to `root/1/flow`, `root/2/flow`, ...; what became of each."""
    for number in range(1, count + 1):
        (root / str(number)).mkdir(exist_ok=True)
    command = [sys.executable, str(DRIVER), str(root), str(count)]
    ended = system_calls.run(command, beneath=root, decide=decide, env=ENV)
    return ended, [json.loads(line) for line in ended.stdout.splitlines()]


def versions(base):
    """What a server that polls finds."""
    entries = base.iterdir() if base.exists() else ()
    return {entry.name: tree(entry) for entry in entries if entry.name.isdigit()}


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """A copy of the base directory before each change, the names of the calls, and the version that came of it."""
    root, copies = tmp_path_factory.mktemp("export"), tmp_path_factory.mktemp("states")
    calls = []

    def copy(change):
        calls.append(change.call)
        if (root / "1" / "flow").exists():
            shutil.copytree(root / "1" / "flow", copies / str(change.number))
        else:
            (copies / str(change.number)).mkdir()

    ended, (outcome,) = export(root, 1, copy)
    assert ended.returncode == 0, ended.stderr
    published = Path(outcome["published"])
    assert published == root / "1" / "flow" / "1"
    return copies, calls, tree(published)


def test_no_server_ever_sees_a_part_of_a_version(states):
    copies, calls, whole = states
    assert len(calls) > 40
    assert {"mkdir", "openat", "write", "rename", "fsync"} <= set(calls)
    assert {"saved_model.pb", "variables/variables.index", "assets.extra/contract.json"} <= set(whole)
    seen = [versions(copies / str(number)) for number in range(1, len(calls) + 1)]
    assert all(each in ({}, {"1": whole}) for each in seen)
    assert {} in seen
    assert {"1": whole} in seen, "something is done after the version has appeared: removing what is left"


def test_the_next_export_goes_on_from_whatever_a_kill_left(states, tmp_path):
    copies, calls, whole = states
    for number in range(1, len(calls) + 1):
        base = shutil.copytree(copies / str(number), tmp_path / str(number))
        before = versions(base)
        with staging_directory(base) as staged:
            (staged / "saved_model.pb").write_text("model")
            published = publish(staged, base)
        assert published.name == ("2" if before else "1")
        assert sorted(entry.name for entry in base.iterdir()) == sorted([".lock", *before, published.name])
        shutil.rmtree(published)
    assert versions(tmp_path / str(len(calls))) == {"1": whole}


def without_random_names(paths):
    """`.staging-abc` and `x.tmp12` are called otherwise each time."""
    return sorted(re.sub(r"(staging-|tmp|tempstate)\w+", r"\1", path) for path in paths)


@pytest.mark.parametrize("share", [0.3, 0.75, 1.0])
def test_a_real_kill_leaves_what_the_copy_shows(share, states, tmp_path):
    copies, calls, _ = states
    last = max(1, int(share * (len(calls) - 3)))
    ended, _ = export(tmp_path, 1, lambda change: Kill() if change.number == last else None)
    assert ended.returncode == -signal.SIGKILL
    found, copied = tree(tmp_path / "1" / "flow"), tree(copies / str(last))
    assert without_random_names(found) == without_random_names(copied)
    assert versions(tmp_path / "1" / "flow") == {}
    ended, (again,) = export(tmp_path, 1, lambda _: None)
    assert again["published"].endswith("flow/1")
    assert sorted(path.name for path in (tmp_path / "1" / "flow").iterdir()) == [".lock", "1"]


def test_whatever_call_fails_nothing_half_is_published(states, tmp_path):
    _, calls, whole = states
    seen: Counter[str] = Counter()
    failed = {}

    def fail_one(change):
        number = Path(change.path).relative_to(tmp_path).parts[0]
        seen[number] += 1
        if seen[number] == int(number):
            failed[number] = change.call
            return Fail(ERRORS.get(change.call, errno.ENOSPC))
        return None

    ended, outcomes = export(tmp_path, len(calls), fail_one)
    assert ended.returncode == 0, ended.stderr
    assert len(outcomes) == len(failed) == len(calls)
    for number, outcome in enumerate(outcomes, start=1):
        base = tmp_path / str(number) / "flow"
        there = versions(base)
        if "published" in outcome:
            assert set(there) == {"1"}
            # What TensorFlow could not delete of its own lies beside what it should.
            assert set(whole) <= set(there["1"]), failed[str(number)]
        else:
            assert set(outcome) == {"refused"}, (failed[str(number)], outcome)
            assert "\n" not in outcome["refused"]
            assert there == {}
            assert not base.exists() or not list(base.glob(".staging-*"))
    refused = sum("refused" in each for each in outcomes)
    assert refused > 0.8 * len(calls)
