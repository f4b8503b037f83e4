"""The tool itself: what it says of the others' faults is no better than it is."""

from __future__ import annotations

import errno
import signal
import sys

import pytest

from tests.faults import system_calls
from tests.faults.system_calls import Fail, Kill

WRITES = """
import os, sys
directory = sys.argv[1]
with open(directory + "/a", "w") as file:
    file.write("x")
os.rename(directory + "/a", directory + "/b")
"""

pytestmark = pytest.mark.usefixtures("watched")


def run(directory, decide):
    return system_calls.run([sys.executable, "-S", "-c", WRITES, str(directory)], beneath=directory, decide=decide)


def test_sees_every_change_before_it_happens(tmp_path):
    seen = []

    def look(change):
        seen.append((change.call, change.path, sorted(path.name for path in tmp_path.iterdir())))

    assert run(tmp_path, look).returncode == 0
    file = str(tmp_path / "a")
    assert [(call, path) for call, path, _ in seen] == [("openat", file), ("write", file), ("rename", file)]
    assert [there for _, _, there in seen] == [[], ["a"], ["a"]]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_call_fails_as_it_is_told(tmp_path):
    ended = run(tmp_path, lambda change: Fail(errno.ENOSPC) if change.call == "write" else None)
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
    assert (tmp_path / "a").read_text() == ""


@pytest.mark.parametrize("last", [1, 2, 3])
def test_kills_before_the_call(last, tmp_path):
    ended = run(tmp_path, lambda change: Kill() if change.number == last else None)
    assert ended.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == (["a"] if last > 1 else [])
    assert all(path.read_text() == ("x" if last > 2 else "") for path in tmp_path.iterdir())


def test_raises_what_the_judge_raised(tmp_path):
    def refuse(_):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(tmp_path, refuse)
