"""What the toolkit raises, and the exit status of a command that ends so.

Each message is one line that says what came, what was expected and what to do.

    MafServingError
    ├── UsageError      what was asked for cannot be done; nothing was started (exit status 2)
    │   ├── ContractError           a contract, or the columns in it, are not what they must be
    │   └── InputError              arrays or columns that do not fit the model; nothing was sent
    ├── JobError        something started and failed; nothing half-done is left (exit status 1)
    └── ServingError    a model server refused a request, or could not be reached (exit status 1)
        ├── ModelNotFoundError      no such model, version or path
        ├── InvalidArgumentError    the server understood the request and refused it
        ├── PermissionDeniedError   credentials are missing or not accepted
        ├── ResponseError           the answer is not what TensorFlow Serving answers
        ├── ServerError             the server failed inside
        └── RetriableError          trying again may help
            ├── UnavailableError        unreachable, not loaded yet, or its queue is full
            ├── DeadlineExceededError   no answer in time
            └── ResourceExhaustedError  too many requests

    >>> try:
    ...     ms.load("models/none")
    ... except ms.errors.UsageError as error:
    ...     print(error, error.exit_status)
    model 'models/none' does not exist; expected a version directory, or a directory of versions 2

The packages' own errors are below these: `maf.errors`, `export.errors`, `beam_jobs.errors`, `serving_config.errors`.
"""

from __future__ import annotations

from collections.abc import Iterable


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


class InputError(UsageError, ValueError):
    """The given arrays or columns do not fit the model; nothing was sent."""


class ServingError(MafServingError):
    """A server refused a request, or could not be reached. The message holds the server's own."""


class ModelNotFoundError(ServingError):
    """The server has no such model, version or path."""


class InvalidArgumentError(ServingError):
    """The server understood the request and refused it."""


class PermissionDeniedError(ServingError):
    """Credentials are missing or not accepted."""


class ResponseError(ServingError):
    """The answer is not what TensorFlow Serving answers."""


class ServerError(ServingError):
    """The server failed inside."""


class RetriableError(ServingError):
    """Trying again may help; a client has already done so as often as it was told to."""


class UnavailableError(RetriableError):
    """The server cannot be reached, has not loaded the model yet, or its queue is full."""


class DeadlineExceededError(RetriableError):
    """No answer came in time."""


class ResourceExhaustedError(RetriableError):
    """The server has too many requests."""


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant, of those that are known: spelt nearly so, or the same but for the case.

    >>> did_you_mean("pirce", ["season", "price"]), did_you_mean("Price", ["price"]), did_you_mean("x", ["price"])
    ('price', 'price', None)
    """
    import difflib  # noqa: PLC0415  # 5 ms, for those who are wrong alone

    known = list(known)
    same = [each for each in known if each.casefold() == name.casefold()]
    close = same or difflib.get_close_matches(name, known, n=1)
    return close[0] if close else None


def one_line(error: BaseException) -> str:
    """The message of an error of a library without its line breaks; its class if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
