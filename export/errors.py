"""What can go wrong in an export, by who can mend it.

    ExportError
    ├── ModelError          the distribution cannot be exported as it is
    │   └── CompileError    a part of it is unknown to the compiler, and runs as TFP's graph
    ├── OptionError         an option of the export cannot be what it is
    ├── PublishError        the base directory cannot take the new version
    ├── CheckpointError     a checkpoint does not hold the weights of the model that it is said to be of
    └── VerificationError   the exported version does not compute what the model computes

`OptionError` is a `maf_serving.errors.UsageError` (exit status 2), the others are `JobError`s (exit status 1).
Columns that make no sense raise `export.contract.ContractError`. `ExportWarning` is what an export says that went well.
"""

from __future__ import annotations

from maf_serving.errors import JobError, MafServingError, UsageError


class ExportError(MafServingError, ValueError):
    """Base of the errors below: a one-line message that says what came, what was expected and what to do."""


class ModelError(ExportError, JobError):
    """The distribution cannot be exported as it is."""


class CompileError(ModelError):
    """A part of the distribution is unknown to the compiler; it runs as TFP's graph."""


class OptionError(ExportError, UsageError):
    """An option of the export cannot be what it is."""


class PublishError(ExportError, JobError):
    """The base directory cannot take the new version."""


class CheckpointError(ExportError, JobError):
    """A checkpoint does not hold the weights of the model that it is said to be of."""


class VerificationError(ExportError, JobError):
    """The exported version does not compute what the model computes."""


class ExportWarning(UserWarning):
    """An export that works, but offers less than it could."""
