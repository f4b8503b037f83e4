"""What can go wrong, by who can mend it.

MafError
├── ConfigError     an option has a value that makes no sense
├── DataError       the table given for training cannot be used
├── RoutingError    a flow's layers cannot be given their conditional input
├── RunError        a run directory is not one, is taken, or belongs to other options
│   └── DamagedRunError     its files are not what a run has written
├── SearchError     a search's directory is not one, is taken, or what it needs is not installed
└── TrainingError   the fit did not work

`TrainingError` and `DamagedRunError` end a command with exit status 1, the others are `UsageError`s (exit status 2).
"""

from __future__ import annotations

from maf_serving.errors import JobError, MafServingError, UsageError


class MafError(MafServingError, ValueError):
    """Base of the errors below: a one-line message that says what came, what was expected and what to do."""


class ConfigError(MafError, UsageError):
    """An option has a value that makes no sense."""


class DataError(MafError, UsageError):
    """The table given for training cannot be used."""


class RoutingError(MafError, UsageError):
    """A flow's layers cannot be given their conditional input."""


class RunError(MafError, UsageError):
    """A run directory is not one, is taken, or belongs to other options."""


class DamagedRunError(RunError):
    """Files of a run are not what it has written; the command was right."""

    exit_status = 1


class SearchError(MafError, UsageError):
    """A search's directory is not one, is taken, or what it needs is not installed."""


class TrainingError(MafError, JobError):
    """The fit did not work: the loss is no number."""
