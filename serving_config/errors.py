"""What the serving tools raise: each message is one line that a user can act on.

MafServingError
├── UsageError                  what was asked for cannot be done; nothing was started (exit status 2)
│   └── InputError              arrays or columns that do not fit the model; nothing was sent
├── JobError                    a command started and failed (exit status 1)
│   └── StartError              a local server could not start
├── RequestError                of the local server: the answer to one request (in local_server/errors.py)
└── ServingError                a server refused a request, or could not be reached (exit status 1)
    ├── ModelNotFoundError      no such model, version or path
    ├── InvalidArgumentError    the server understood the request and refused it
    ├── PermissionDeniedError   credentials are missing or not accepted
    ├── ResponseError           the answer is not what TensorFlow Serving answers
    ├── ServerError             the server failed inside
    └── RetriableError          trying again may help; the client has already done so
        ├── UnavailableError        unreachable, not loaded yet, or its queue is full
        ├── DeadlineExceededError   no answer in time
        └── ResourceExhaustedError  too many requests
"""

from __future__ import annotations

from maf_serving.errors import JobError, MafServingError, UsageError

__all__ = [
    "DeadlineExceededError",
    "InputError",
    "InvalidArgumentError",
    "JobError",
    "ModelNotFoundError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "ResponseError",
    "RetriableError",
    "ServerError",
    "ServingError",
    "StartError",
    "UnavailableError",
    "UsageError",
]


class InputError(UsageError, ValueError):
    """The given arrays or columns do not fit the model; nothing was sent."""


class StartError(JobError):
    """A local server could not start: a model does not load, or a port is taken."""


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
    """Trying again may help; the client has already done so as often as it was told to."""


class UnavailableError(RetriableError):
    """The server cannot be reached, has not loaded the model yet, or its queue is full."""


class DeadlineExceededError(RetriableError):
    """No answer came in time."""


class ResourceExhaustedError(RetriableError):
    """The server has too many requests."""
