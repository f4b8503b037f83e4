"""What the server raises.

    LocalServerError
    ├── UsageError     flags or configuration files cannot be what they are; nothing was started (exit status 2)
    ├── StartError     the server could not start (exit status 1)
    └── RequestError   the answer to one request, as a status code and a message

A request's error is part of the API: its words are those of TensorFlow Serving.
"""

from __future__ import annotations

from serving_config.local_server.codes import Code


class LocalServerError(Exception):
    """Base of the errors below; the message is one line, except a request's."""

    exit_status = 1


class UsageError(LocalServerError):
    """Flags or configuration files cannot be what they are."""

    exit_status = 2


class StartError(LocalServerError):
    """The server could not start."""


class RequestError(LocalServerError):
    """One request cannot be answered.

    Attributes:
      code: the canonical status code.
      message: what the client is told.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid_argument(message: str) -> RequestError:
    """The commonest error of a request."""
    return RequestError(Code.INVALID_ARGUMENT, message)
