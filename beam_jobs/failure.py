"""What a runner raises when a job fails, as one line."""

from __future__ import annotations

import re

from beam_jobs.errors import EndpointError, JobError
from beam_jobs.worker_processes import LOST_WORKER

# By the module of its class, an error of ours in the text of a traceback.
_MODULES = "|".join(re.escape(kind.__module__) for kind in (JobError, EndpointError))
_OWN = re.compile(rf"(?:{_MODULES})\.\w+: (.*)")
# Frames of Python and Java, how many Java leaves out, and what closes the text of an error of gRPC.
_NO_MESSAGE = re.compile(r"\s*(at [\w.$/<>@]+\(|\.\.\. \d+ more|File \"|>$)")
_STEP = re.compile(r" \[while running '.*|\\n.*")
_DETAILS = re.compile(r'^\s*details = "(.*)"$', re.MULTILINE)

# What Beam's runners for one machine say when a process that works for them is gone.
_LOST = "Channel closed prematurely"


def describe_failure(error: BaseException) -> str:
    """The message of a failed job: of an error of our own, wherever in the text of a traceback it is, or the last line.

    Runners in other processes send the tracebacks of their workers as text, and those in Java put theirs around it.
    """
    text = str(error)
    own = _OWN.findall(text)
    if own:
        return _STEP.sub("", own[-1]).strip()
    details = _DETAILS.search(text)
    if details:
        return details[1]
    if _LOST in text:
        return LOST_WORKER
    lines = [line for line in text.splitlines() if line.strip() and not _NO_MESSAGE.match(line)] or [repr(error)]
    return lines[-1].strip()
