"""Gathers requests for the same tensors into batches, as `--enable_batching` does.

    first request:  opens a batch, waits until it is full or batch_timeout_micros are over, waits for a free
                    "thread", closes the batch, runs it, hands out the answers, says that it is done
    later ones:     join the open batch of their tensors, and sleep until it is done
    one too large:  closes the open batch, and opens the next

There is no thread of its own: the first request of a batch leads it, on the thread that it came on. A lock
guards the open batches; once a batch is closed, its leader alone touches it. The leader sets `done` however its run
ends, so nobody sleeps for ever. The semaphore stands for `num_batch_threads`.

As in the real server, a request of another type or inner shape fails all those of its batch. Unlike there, a request of
no rows runs alone: the real server never answers it, or ends.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from maf_serving.codes import Code
from serving_config.local_server.apis import dtype_name
from serving_config.local_server.errors import RequestError, invalid_argument

if TYPE_CHECKING:
    from maf_serving.batching import BatchingParameters
    from maf_serving.model_inputs import Array
    from serving_config.local_server.servable import Runner

_MOST_ENQUEUED = 10  # TensorFlow Serving's default
_Key = tuple[tuple[str, ...], tuple[str, ...]]  # tensors fed, tensors fetched


class _Task:
    """One request of a batch, and its answer once there is one."""

    def __init__(self, feeds: Mapping[str, Array], rows: int, timeout: float | None) -> None:
        self.feeds = feeds
        self.rows = rows
        self.timeout = timeout
        self.values: list[Array] = []
        self.error: RequestError | None = None


class _Batch:
    """Requests that run together; the first one leads."""

    def __init__(self, first: _Task) -> None:
        self.tasks = [first]
        self.rows = first.rows
        self.full = threading.Event()
        self.done = threading.Event()

    def add(self, task: _Task) -> None:
        self.tasks.append(task)
        self.rows += task.rows


class BatchingRunner:
    """Runs batches on another runner."""

    def __init__(self, runner: Runner, parameters: BatchingParameters) -> None:
        """Batches for one version; its threads are its own."""
        self._runner = runner
        self._parameters = parameters
        self._wait_seconds = (parameters.batch_timeout_micros or 0) / 1e6
        self._most_enqueued = (
            _MOST_ENQUEUED if parameters.max_enqueued_batches is None else parameters.max_enqueued_batches
        )
        self._most_running = parameters.num_batch_threads or os.cpu_count() or 1
        self._threads = threading.Semaphore(self._most_running)
        self._lock = threading.Lock()
        self._open: dict[_Key, _Batch] = {}
        self._waiting = 0

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout: float | None) -> list[Array]:
        """See `Runner.run`; it may answer together with other threads' requests."""
        rows = _rows(feeds)
        if rows == 0:
            return self._runner.run(feeds, fetches, timeout)
        limits = self._parameters
        if rows > limits.max_batch_size:  # whether or not large requests are split
            raise invalid_argument(f"Task size {rows} is larger than maximum input batch size {limits.max_batch_size}")
        if not limits.enable_large_batch_splitting:
            return self._join(feeds, rows, fetches, timeout)
        largest = limits.largest_batch
        pieces = [
            self._join(
                {name: value[at : at + largest] for name, value in feeds.items()},
                min(largest, rows - at),
                fetches,
                timeout,
            )
            for at in range(0, rows, largest)
        ]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _join(
        self, feeds: Mapping[str, Array], rows: int, fetches: Sequence[str], timeout: float | None
    ) -> list[Array]:
        task = _Task(feeds, rows, timeout)
        key = (tuple(sorted(feeds)), tuple(fetches))
        with self._lock:
            batch = self._open.get(key)
            if batch is not None and batch.rows + rows <= self._parameters.largest_batch:
                batch.add(task)
                if batch.rows == self._parameters.largest_batch:
                    del self._open[key]
                    batch.full.set()
                leads = False
            else:
                self._check_room()
                if batch is not None:
                    batch.full.set()
                batch = self._open[key] = _Batch(task)
                self._waiting += 1
                leads = True
        if leads:
            self._lead(key, batch, fetches)
        elif not batch.done.wait(timeout):
            raise RequestError(Code.DEADLINE_EXCEEDED, "Run() timeout exceeded while waiting in batching queue")
        if task.error is not None:
            raise RequestError(task.error.code, task.error.message)
        return task.values

    def _check_room(self) -> None:
        most = self._most_enqueued
        if self._waiting >= most + self._most_running:
            raise RequestError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{self._waiting} batches enqueued and max_enqueued_batches is {most}",
            )

    def _lead(self, key: _Key, batch: _Batch, fetches: Sequence[str]) -> None:
        started = time.perf_counter()
        try:
            if batch.rows < self._parameters.largest_batch:
                batch.full.wait(self._wait_seconds)
            with self._threads:
                with self._lock:
                    if self._open.get(key) is batch:
                        del self._open[key]
                self._run(batch, fetches, time.perf_counter() - started)
        finally:
            with self._lock:
                if self._open.get(key) is batch:
                    del self._open[key]
                self._waiting -= 1
            batch.done.set()

    def _run(self, batch: _Batch, fetches: Sequence[str], waited: float) -> None:
        timeouts = [task.timeout for task in batch.tasks if task.timeout is not None]
        longest = max(max(timeouts) - waited, 0.001) if len(timeouts) == len(batch.tasks) else None
        padding = _padded(batch.rows, self._parameters.allowed_batch_sizes) - batch.rows
        try:
            feeds = merged([task.feeds for task in batch.tasks], padding=padding)
            values = self._runner.run(feeds, fetches, longest)
            answers = split_answers(values, [task.rows for task in batch.tasks], padding=padding)
        except RequestError as error:
            for task in batch.tasks:
                task.error = error
        except BaseException:
            for task in batch.tasks:
                task.error = RequestError(Code.INTERNAL, "the batch of this request failed")
            raise
        else:
            for task, answer in zip(batch.tasks, answers, strict=True):
                task.values = answer


def _padded(rows: int, allowed: Sequence[int]) -> int:
    """Rows of the batch that runs for `rows` rows of requests."""
    return next((size for size in allowed if size >= rows), rows)


def _rows(feeds: Mapping[str, Array]) -> int:
    if any(value.ndim == 0 for value in feeds.values()):
        raise invalid_argument("Batching Run() input tensors must have at least one dimension")
    sizes = {value.shape[0] for value in feeds.values()}
    if len(sizes) != 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    rows: int = sizes.pop()
    return rows


def merged(requests: Sequence[Mapping[str, Array]], *, padding: int) -> dict[str, Array]:
    """The inputs of one run, by tensor name; the first row of the last request is repeated `padding` times.

    Raises:
      RequestError: if the requests differ in the type or the inner shape of a tensor. It is the answer to each of them.
    """
    return {name: _concatenated(name, [request[name] for request in requests], padding) for name in requests[0]}


def _concatenated(name: str, parts: list[Array], padding: int) -> Array:
    if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise RequestError(
            Code.FAILED_PRECONDITION,
            f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off."
            "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
            "have equal dimensions starting with the first dim.",
        )
    for part in parts:
        if part.dtype != parts[0].dtype:
            raise RequestError(
                Code.INTERNAL,
                "Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors that have different data "
                f"types. Got {_dtype_name(parts[0])} and {_dtype_name(part)}.",
            )
    if padding:
        parts = [*parts, np.repeat(parts[-1][:1], padding, axis=0)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def split_answers(values: Sequence[Array], rows: Sequence[int], *, padding: int) -> list[list[Array]]:
    """The outputs of one run for each request, which had that many `rows`. Raises `RequestError`."""
    for value in values:
        if value.ndim == 0:
            raise RequestError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if value.shape[0] != sum(rows) + padding:
            raise RequestError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    ends = np.cumsum(rows).tolist()
    return [[value[end - size : end] for value in values] for end, size in zip(ends, rows, strict=True)]


def _dtype_name(array: Array) -> str:
    return dtype_name(array).removeprefix("DT_").lower()
