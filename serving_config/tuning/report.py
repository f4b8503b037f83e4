"""What the tuning command prints: the table, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving_config.tuning.measurement import Timing
    from serving_config.tuning.proposal import Proposal

HEADER = f"{'threads':>7}  {'side by side':>12}  {'rows':>6}  {'p50 ms':>9}  {'p99 ms':>9}  {'rows/s':>12}"


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
        f"python -m serving_config ... {' '.join(_flags(proposal))}"
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
