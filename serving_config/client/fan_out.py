"""A large input as several requests, a few of them under way at a time."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def fan_out(call: Callable[[slice], Result], *, rows: int, rows_per_request: int, executor: Executor) -> list[Result]:
    """The results of `call` on slices of at most `rows_per_request` rows, in order.

    The first error is raised, and what has not started by then never does.
    """
    slices = [slice(start, min(start + rows_per_request, rows)) for start in range(0, rows, rows_per_request)]
    if len(slices) == 1:
        return [call(slices[0])]
    futures = [executor.submit(call, each) for each in slices]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = [future for future in futures if future.done() and future.exception() is not None]
        return [future.result() for future in failed or futures]
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
