"""The answer to a request that cannot be served: part of the API, in TensorFlow Serving's words.

What keeps the server from starting is told by the errors of all serving tools, `serving_config.errors`.
"""

from __future__ import annotations

from maf_serving.codes import Code
from maf_serving.errors import MafServingError


class RequestError(MafServingError):
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
