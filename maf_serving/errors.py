"""What the toolkit raises, and the exit status of a command that ends so.

Each message is one line that says what came, what was expected and what to do.

    MafServingError
    ├── UsageError      what was asked for cannot be done; nothing was started (exit status 2)
    │   └── ContractError   a contract, or the columns in it, are not what they must be
    └── JobError        something started and failed; nothing half-done is left (exit status 1)

The packages' own errors are below these: `maf.errors`, `export.errors`, `beam_jobs.errors`, `serving_config.errors`.
"""

from __future__ import annotations


class MafServingError(Exception):
    """Base of all errors of the toolkit.

    Attributes:
      exit_status: of a command that this error ends.
    """

    exit_status = 1


class UsageError(MafServingError):
    """Options, model and data do not fit together; nothing was started."""

    exit_status = 2


class ContractError(UsageError, ValueError):
    """A model's contract, the columns it names, or the place where one should be, is not what it must be."""


class JobError(MafServingError):
    """Something started and failed; nothing was published."""
