"""`python score_again.py COUNT FLAGS...`: runs `python -m beam_jobs.score` COUNT times.

In one process, since Beam takes seconds to start. `{}` in a flag is the number of the attempt. Prints the exit status
and the standard error of each.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback

from beam_jobs.score import main


def run(flags: list[str]) -> dict[str, object]:
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            status: object = main(flags)
        except Exception:  # noqa: BLE001  # told to the test
            traceback.print_exc()
            status = "raised"
    return {"status": status, "stderr": error.getvalue()}


if __name__ == "__main__":
    for number in range(1, int(sys.argv[1]) + 1):
        sys.stdout.write(json.dumps(run([flag.replace("{}", str(number)) for flag in sys.argv[2:]])) + "\n")
        sys.stdout.flush()
