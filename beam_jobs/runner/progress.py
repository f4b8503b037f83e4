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
_rows_rejected = 0


def count_rows(rows: int) -> None:
    """Adds to the rows done in this process."""
    global _rows_done  # noqa: PLW0603  # see above
    with _lock:
        _rows_done += rows


def count_rejected(rows: int) -> None:
    """Adds to the rows, or draws, rejected in this process."""
    global _rows_rejected  # noqa: PLW0603  # see above
    with _lock:
        _rows_rejected += rows


@contextlib.contextmanager
def progress_bar(total_rows: int | None) -> Iterator[None]:
    """Shows rows done and rejected while the block runs, if stderr is a terminal.

    `total_rows` is `None` if nobody knows.
    """
    finished = threading.Event()
    start, start_rejected = _rows_done, _rows_rejected
    # `sys.stderr` may be redirected, or hear the main thread alone
    with tqdm(total=total_rows, unit=" rows", unit_scale=True, file=sys.__stderr__, disable=None, leave=False) as bar:

        def refresh() -> None:
            while not finished.wait(_REFRESH_SECONDS):
                bar.set_postfix_str(f"{_rows_rejected - start_rejected:,} rejected", refresh=False)
                bar.update(_rows_done - start - bar.n)

        thread = threading.Thread(target=refresh, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
