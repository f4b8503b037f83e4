"""What a batch job raises: each message is one line that a user can act on.

MafServingError
├── UsageError                what was asked for cannot be done, seen before the pipeline started (exit status 2)
│   └── UnreadableFileError   an input file is no table of its format
├── SubmittedError            the job is somebody else's now: a template was written, nothing was run
└── JobError                  the job started and failed (exit status 1)
    ├── ChangedInputError     an input file was written, replaced or deleted while the job read it
    └── EndpointError         a model server refused a request, or answered something else
        └── EndpointBusyError     it could not be reached, or had too much to do; trying again may help
"""

from __future__ import annotations

from maf_serving.errors import JobError, MafServingError, UsageError

__all__ = [
    "ChangedInputError",
    "EndpointBusyError",
    "EndpointError",
    "JobError",
    "SubmittedError",
    "UnreadableFileError",
    "UsageError",
]


class UnreadableFileError(UsageError):
    """An input file cannot be read as a table of its format."""


class SubmittedError(MafServingError):
    """The job was written as a template, and is run by somebody else: there is no summary to return."""


class ChangedInputError(JobError):
    """An input file is not what it was when the job was planned: nobody knows which rows were read."""


class EndpointError(JobError):
    """A model server refused a request, or its answer is not what the model's contract says."""


class EndpointBusyError(EndpointError):
    """A model server could not be reached, or had too much to do; trying again may help."""
