"""A program in a fork ends, and says what it says, as one that was started."""

import signal
import subprocess
import sys

import pytest

from tests.forked import PIPE, STDOUT, Forked, run_python
from tests.waiting import until

SCRIPT = """
import atexit, os, sys
atexit.register(print, "last words", flush=True)
print(os.path.basename(sys.argv[0]), sys.argv[1:], __name__, os.getcwd())
print(os.environ.get("GIVEN"), os.environ.get("HOME"), sys.path[0], sys.stdin.read())
print("pytest" in sys.modules, "maf" in sys.modules)
print("complaint", file=sys.stderr)
"""
ENDINGS = ["", "sys.exit(3)", "sys.exit('one line')", "raise ValueError('no')", "os.kill(os.getpid(), 15)"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", ["-m", "-c", "script"])
def test_it_is_as_if_it_were_started(tmp_path, kind, ending):
    (tmp_path / "here.py").write_text(SCRIPT + ending)
    program = {"-m": ["-m", "here"], "-c": ["-c", SCRIPT + ending], "script": [tmp_path / "here.py"]}[kind]
    how = {"cwd": tmp_path, "env": {"GIVEN": "this"}}
    done = run_python(*program, "a", "--b=c", **how)
    expected = subprocess.run(
        [sys.executable, *program, "a", "--b=c"],
        **how,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected.returncode
    assert done.stdout.replace(f"{tmp_path} ", " ", 2) == expected.stdout.replace(f"{tmp_path} ", " ", 2)
    assert done.stderr.splitlines()[:1] == expected.stderr.splitlines()[:1]
    assert done.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_one_that_hangs_is_killed():
    with pytest.raises(subprocess.TimeoutExpired):
        run_python("-c", "import time; time.sleep(600)", timeout=0.5)


def test_it_is_spoken_with_and_signalled(tmp_path):
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); print('ready', flush=True)\n"
    code += "print(sys.stdin.readline(), file=sys.stderr, flush=True); input()"
    command = [sys.executable, "-c", code]
    with (tmp_path / "log").open("w") as log, Forked(command, stdin=PIPE, stdout=log, stderr=STDOUT) as process:
        process.stdin.write("hello\n")
        process.stdin.flush()
        until(lambda: "hello" in (tmp_path / "log").read_text(), of=process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 1
    assert (tmp_path / "log").read_text().startswith("ready\nhello\n")
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text()
    with Forked(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        assert process.communicate("hello\nand more\n") == ("", "hello\n\n")
    assert process.returncode == 0
