"""Rows done so far, on the terminal, for jobs whose workers are threads of this process."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFRESH_SECONDS = 0.2

# Beam pickles the steps of a pipeline, so they can share this with the launcher only through a module.
_lock = threading.Lock()
_rows_done = 0


def count_rows(rows: int) -> None:
    """Adds to the rows done in this process."""
    global _rows_done  # noqa: PLW0603  # see above
    with _lock:
        _rows_done += rows


@contextlib.contextmanager
def progress_bar(total_rows: int | None) -> Iterator[None]:
    """Shows the rows done while the block runs, if stderr is a terminal. `total_rows`: `None` if nobody knows."""
    finished = threading.Event()
    start = _rows_done
    with tqdm(total=total_rows, unit=" rows", unit_scale=True, file=sys.stderr, disable=None, leave=False) as bar:

        def refresh() -> None:
            while not finished.wait(_REFRESH_SECONDS):
                bar.update(_rows_done - start - bar.n)

        thread = threading.Thread(target=refresh, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
