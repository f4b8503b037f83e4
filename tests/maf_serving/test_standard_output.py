"""What a command prints at its end, when nobody can read it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.commands import ROOT

SHELLS = {
    "read": ("", 0, "done\n", ""),
    "a reader that has gone": ("| true; exit ${PIPESTATUS[0]}", 1, "", ""),
    "a full disk": ("> /dev/full", 1, "", "error: standard output cannot be written: No space left on device\n"),
    "closed": (">&-", 0, "", ""),
}


@pytest.mark.parametrize("name", SHELLS)
def test_the_end_of_a_command(name):
    suffix, status, out, err = SHELLS[name]
    wait = "import time; time.sleep(0.2)" if "gone" in name else ""
    code = f"import sys; from maf_serving.command import show; {wait}\nsys.exit(show('done'))"
    done = subprocess.run(
        ["/bin/bash", "-c", f'"$@" {suffix}', "bash", sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, out, err)
