"""What the serving tools raise: each message is one line that a user can act on.

`maf_serving.errors` draws the tree of what they share with the other packages, `ServingError` and what is below it
included. Two are their own:

    JobError
    └── StartError      a local server could not start
    MafServingError
    └── RequestError    of the local server: the answer to one request (in local_server/errors.py)
"""

from __future__ import annotations

from maf_serving.errors import (
    DeadlineExceededError,
    InputError,
    InvalidArgumentError,
    JobError,
    ModelNotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ResponseError,
    RetriableError,
    ServerError,
    ServingError,
    UnavailableError,
    UsageError,
)

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


class StartError(JobError):
    """A local server could not start: a model does not load, or a port is taken."""
