"""An export that is interrupted ends at once, and leaves nothing: no file, and no process that verifies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.waiting import SOON, until


def children(process):
    listed = subprocess.run(
        ["/bin/ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.split()


def running(process_id):
    done = subprocess.run(["/bin/ps", "-o", "stat=", "-p", process_id], capture_output=True, text=True, check=False)
    return done.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "moment"), [(signal.SIGINT, "while it verifies"), (signal.SIGTERM, "while TensorFlow is imported")]
)
def test_an_interrupted_export_leaves_nothing(run, tmp_path, number, moment):
    base = tmp_path / "models"
    command = [sys.executable, "-m", "export", "--run", str(run), "--model_base", str(base)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if moment == "while TensorFlow is imported":
            until(base.exists, of=process)
        else:
            until(lambda: children(process), of=process)
        verifying = children(process)
        time.sleep(0.3)
        process.send_signal(number)
        out, err = process.communicate(timeout=SOON)
    assert process.returncode == 128 + number
    assert out == ""
    assert err.splitlines()[-1] == f"error: interrupted by {number.name}; nothing is published"
    assert "Traceback" not in err
    assert [path.name for path in base.iterdir()] in ([], [".lock"])
    assert not any(running(each) for each in verifying)
