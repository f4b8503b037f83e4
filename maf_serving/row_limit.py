"""How many rows a server takes in one request: learnt from its refusals, since nothing else tells.

A TensorFlow Serving with `--enable_batching` refuses a request of more rows than its max_batch_size, 1,000 unless its
parameters say otherwise. No API of it tells the number, but the refusal does, over gRPC and REST alike.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TypeVar

from maf_serving.errors import InvalidArgumentError

Result = TypeVar("Result")
_REFUSAL = re.compile(r"Task size (\d+) is larger than maximum input batch size (\d+)")


class RowLimit:
    """The most rows of one request to a model; threads share what one of them learns.

        limit = RowLimit(4096)
        limit.in_parts(lambda rows: channel.predict(..., {"x": x[rows]}), slice(0, len(x)))

    Attributes:
      most: rows, as known so far.
    """

    def __init__(self, most: int) -> None:
        """Starts with the caller's own limit, at least 1."""
        self.most = most
        self._lock = threading.Lock()

    def in_parts(self, send: Callable[[slice], Result], rows: slice) -> list[Result]:
        """What `send` returns for one part of `rows` after the other, each of at most `most` rows and at least one.

        A part that the server refuses for its size is sent again in smaller ones. No rows are no call.

        Raises:
          Exception: whatever else `send` raises.
        """
        results = []
        start = rows.start
        while start < rows.stop:
            stop = min(start + self.most, rows.stop)
            try:
                results.append(send(slice(start, stop)))
            except InvalidArgumentError as error:
                if not self._learn(str(error), sent=stop - start):
                    raise
            else:
                start = stop
        return results

    def _learn(self, refusal: str, *, sent: int) -> bool:
        """Whether the refusal names a limit below the rows that were sent; it holds from now on."""
        found = _REFUSAL.search(refusal)
        if found is None or not 0 < int(found[2]) < sent:
            return False
        with self._lock:
            self.most = min(self.most, int(found[2]))
        return True
