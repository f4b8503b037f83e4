"""Times of a model by batch size and threads, as TensorFlow Serving would run it: a session on the SavedModel.

TensorFlow's thread pool is one for a process and gets its size from the first session, so every number of threads is
measured in a process of its own.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import dataclasses
import functools
import multiprocessing
import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from export.contract import ContractError, find_version
from maf_serving.quiet_tensorflow import keras_later, quietly
from serving_config.errors import JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from serving_config.tuning.options import TuneOptions

_FEWEST_RUNS = 10
_WARM_UP_RUNS = 3
_SEED = 0  # of the inputs; the times do not depend on their values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times of one batch size.

    Attributes:
      threads: of one batch (intra-op).
      batches: that ran side by side.
      batch_size: rows of a batch.
      p50_ms: median time of a batch, milliseconds.
      p99_ms: time within which 99 of 100 batches were done.
      rows_per_second: of all the batches together.
    """

    threads: int
    batches: int
    batch_size: int
    p50_ms: float
    p99_ms: float
    rows_per_second: float


def measure(version_dir: str, options: TuneOptions) -> Iterator[Timing]:
    """The times, one after the other as they are taken.

    Raises:
      UsageError: the model has no such signature, or not one of numbers with rows.
      JobError: the process that measures died.
    """
    spawn = multiprocessing.get_context("spawn")
    for threads in options.thread_counts:
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn, initializer=_die_when_interrupted) as pool:
            task = pool.submit(
                measure_threads,
                version_dir,
                options.signature_name,
                threads,
                options.cores,
                options.batch_sizes,
                options.seconds,
            )
            try:
                yield from task.result()
            except concurrent.futures.process.BrokenProcessPool as error:
                raise JobError(
                    f"the process that measured {version_dir} with {threads} threads died; is there memory for "
                    f"batches of {options.batch_sizes[-1]} rows?"
                ) from error
            except KeyboardInterrupt:
                for process in multiprocessing.active_children():
                    process.terminate()
                raise


def _die_when_interrupted() -> None:
    """Ctrl-C goes to this process too: the other one tells of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def measure_threads(
    version_dir: str, signature_name: str, threads: int, cores: int, batch_sizes: Sequence[int], seconds: float
) -> list[Timing]:
    """The times with one number of threads, in this process, which must not have used TensorFlow before."""
    batches = max(1, cores // threads)
    with quietly(), keras_later():
        import tensorflow as tf  # noqa: PLC0415  # in the measuring process alone

        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=batches, device_count={"GPU": 0}
        )
        tf.compat.v1.Session(graph=tf.Graph(), config=config).close()  # says all it has to say
    with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], version_dir)
        if signature_name not in meta_graph.signature_def:
            there = ", ".join(sorted(name for name in meta_graph.signature_def if not name.startswith("__")))
            raise UsageError(f"{version_dir} has no signature {signature_name!r}; it has {there}")
        signature = meta_graph.signature_def[signature_name]
        fetches = [info.name for info in signature.outputs.values()]
        timings = []
        for batch_size in batch_sizes:
            feeds = {info.name: _rows(name, info, batch_size) for name, info in signature.inputs.items()}
            run = session.make_callable(fetches, feed_list=list(feeds))
            times, elapsed = _time(functools.partial(run, *feeds.values()), batches, seconds)
            timings.append(
                Timing(
                    threads=threads,
                    batches=batches,
                    batch_size=batch_size,
                    p50_ms=1000 * float(np.median(times)),
                    p99_ms=1000 * float(np.quantile(times, 0.99)),
                    rows_per_second=len(times) * batch_size / elapsed,
                )
            )
        return timings


def _rows(name: str, info: Any, batch_size: int) -> np.ndarray[Any, np.dtype[Any]]:
    """Rows of standard normal numbers; of any integers for seeds."""
    import tensorflow as tf  # noqa: PLC0415  # in the measuring process alone

    sizes = [dim.size for dim in info.tensor_shape.dim]
    dtype = tf.as_dtype(info.dtype)
    if not sizes or sizes[0] >= 0 or not (dtype.is_floating or dtype.is_integer):
        raise UsageError(f"input {name} is of type {dtype.name} and shape {sizes}; expected rows of numbers")
    rng = np.random.default_rng(_SEED)
    shape = (batch_size, *sizes[1:])
    if dtype.is_integer:
        return rng.integers(2**31, size=shape).astype(dtype.as_numpy_dtype)
    return rng.normal(size=shape).astype(dtype.as_numpy_dtype)


def _time(run: Callable[[], Any], side_by_side: int, seconds: float) -> tuple[list[float], float]:
    """Times of runs, several side by side, and how long all of it took."""
    for _ in range(_WARM_UP_RUNS):
        run()

    def repeat() -> list[float]:
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < _FEWEST_RUNS or time.perf_counter() < end:
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        return times

    started = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(side_by_side) as pool:
        futures = [pool.submit(repeat) for _ in range(side_by_side)]
        times = [each for future in futures for each in future.result()]
    return times, time.perf_counter() - started


def find_model(model: Path) -> Path:
    """The version directory that `model` means. Raises `UsageError` if it means none."""
    try:
        return find_version(model)
    except ContractError as error:
        raise UsageError(str(error)) from error
