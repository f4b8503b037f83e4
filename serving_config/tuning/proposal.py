"""Batching parameters from a table of times: what is proposed, what is printed, and the file.

A request waits at most batch_timeout_micros for its batch to fill, then for the batch that runs before it, then for
its own: a latency L is kept by batches with timeout + 2 p99 <= L. Of those, the one with the most rows per second is
taken.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

from maf_serving.batching import BatchingParameters
from serving_config.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from serving_config.tuning.measurement import Timing

_NEARLY_FREE = 1.1  # padding to a batch that takes less than this times as long is not worth a size of its own
_GAIN = 1.02  # less is noise: the smaller batch, and the fewer threads, are as good
HEADER = f"{'threads':>7}  {'side by side':>12}  {'rows':>6}  {'p50 ms':>9}  {'p99 ms':>9}  {'rows/s':>12}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to start the server with.

    Attributes:
      batching: the parameters.
      intra_op_threads: `--tensorflow_intra_op_parallelism`.
      inter_op_threads: `--tensorflow_inter_op_parallelism`.
      timing: the row of the table that was taken.
    """

    batching: BatchingParameters
    intra_op_threads: int
    inter_op_threads: int
    timing: Timing


def propose(timings: Sequence[Timing], *, latency_ms: float) -> Proposal:
    """The proposal for a latency. Raises `JobError` if no batch is fast enough."""
    fitting = [timing for timing in timings if 2 * timing.p99_ms <= latency_ms]
    if not fitting:
        best = min(timings, key=lambda timing: timing.p99_ms)
        raise JobError(
            f"no batch keeps {latency_ms:g} ms: a batch of {best.batch_size} takes {best.p99_ms:.3g} ms, and a request "
            f"waits for the batch before its own; expected --latency_ms {2 * best.p99_ms:.3g} or more"
        )
    chosen = fitting[0]
    for timing in fitting[1:]:
        if timing.rows_per_second > _GAIN * chosen.rows_per_second:
            chosen = timing
    slack_ms = latency_ms - 2 * chosen.p99_ms
    smaller = [
        timing for timing in timings if timing.threads == chosen.threads and timing.batch_size <= chosen.batch_size
    ]
    return Proposal(
        batching=BatchingParameters(
            max_batch_size=chosen.batch_size,
            # Waiting for longer than a batch takes gains nothing: while one runs, the next fills.
            batch_timeout_micros=int(1000 * min(slack_ms, chosen.p50_ms)),
            num_batch_threads=chosen.batches,
            # More than this would wait for longer than the latency allows: better refused, and sent elsewhere.
            max_enqueued_batches=max(chosen.batches, int(chosen.batches * latency_ms / chosen.p50_ms)),
            allowed_batch_sizes=_allowed_sizes(smaller),
        ),
        intra_op_threads=chosen.threads,
        inter_op_threads=chosen.batches,
        timing=chosen,
    )


def _allowed_sizes(timings: Sequence[Timing]) -> tuple[int, ...]:
    """The sizes worth padding to, from the largest down."""
    kept = [max(timings, key=lambda timing: timing.batch_size)]
    for timing in sorted(timings, key=lambda timing: -timing.batch_size)[1:]:
        if kept[-1].p50_ms > _NEARLY_FREE * timing.p50_ms:
            kept.append(timing)
    return tuple(sorted(timing.batch_size for timing in kept))


def format_timing(timing: Timing) -> str:
    """One line of the table under `HEADER`."""
    return (
        f"{timing.threads:>7}  {timing.batches:>12}  {timing.batch_size:>6}  {timing.p50_ms:>9.3f}  "
        f"{timing.p99_ms:>9.3f}  {timing.rows_per_second:>12,.0f}"
    )


def format_proposal(proposal: Proposal, *, latency_ms: float) -> str:
    """The parameters and flags, and why."""
    chosen, batching = proposal.timing, proposal.batching
    wait = 0.0 if batching.batch_timeout_micros is None else batching.batch_timeout_micros / 1000
    return (
        f"for {latency_ms:g} ms: batches of {chosen.batch_size} rows, {chosen.batches} side by side with "
        f"{chosen.threads} thread(s) each\n"
        f"  wait {wait:.3g} ms + batch before {chosen.p99_ms:.3g} ms + own batch {chosen.p99_ms:.3g} ms "
        f"<= {latency_ms:g} ms; {chosen.rows_per_second:,.0f} rows/s when busy\n\n"
        f"{batching.to_text()}\n"
        f"maf-serving config ... {' '.join(_flags(proposal))}"
    )


def _flags(proposal: Proposal) -> list[str]:
    """The flags of the generator that say the same."""
    batching = proposal.batching
    values = {
        "max_batch_size": batching.max_batch_size,
        "allowed_batch_sizes": ",".join(map(str, batching.allowed_batch_sizes)),
        "batch_timeout_micros": batching.batch_timeout_micros,
        "num_batch_threads": batching.num_batch_threads,
        "max_enqueued_batches": batching.max_enqueued_batches,
        "intra_op_threads": proposal.intra_op_threads,
        "inter_op_threads": proposal.inter_op_threads,
    }
    return ["--enable_batching", *(f"--{name} {value}" for name, value in values.items())]


def write_parameters(path: Path, batching: BatchingParameters) -> None:
    """Writes batching_parameters.txt, whole or not at all. Raises `JobError` if the disk does not take it."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        unfinished.write_text(batching.to_text(), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise JobError(f"{path} cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
