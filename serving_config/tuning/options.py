"""The options of the tuning command, as a value and as command-line flags."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from maf_serving.flags import CommandParser, integers
from serving_config.errors import UsageError

DEFAULT_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_DESCRIPTION = """Measures an exported model on this machine, and proposes batching parameters for a latency.

  %(prog)s --model models/demo --latency_ms 10
  %(prog)s --model models/demo --latency_ms 10 --cores 4 --output serving/batching_parameters.txt

The model runs as TensorFlow Serving runs it, in a session with the threads of each row of the table, as many batches
side by side as the cores allow. Run it on a machine like the server's, with nothing else on it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What to measure, and what for.

    Attributes:
      model: an exported version, or a directory of them (the newest is taken).
      latency_ms: milliseconds in which 99 of 100 requests shall be answered, network apart.
      signature_name: the signature to measure.
      batch_sizes: rows of the batches to try.
      cores: that the server may use.
      seconds: to spend on each row of the table.
      output: file to write the parameters to; `None` for none.
      existing_output: what to do if it exists.
    """

    model: Path
    latency_ms: float = 20.0
    signature_name: str = "log_prob"
    batch_sizes: tuple[int, ...] = DEFAULT_BATCH_SIZES
    cores: int = 1
    seconds: float = 0.5
    output: Path | None = None
    existing_output: Literal["refuse", "replace"] = "refuse"

    def __post_init__(self) -> None:
        if not (self.latency_ms > 0 and self.seconds > 0):
            raise UsageError(
                f"--latency_ms is {self.latency_ms:g} and --seconds {self.seconds:g}; expected more than 0 of each"
            )
        if self.cores < 1:
            raise UsageError(f"--cores is {self.cores}; expected at least 1")
        if not self.batch_sizes or min(self.batch_sizes) < 1 or sorted(set(self.batch_sizes)) != list(self.batch_sizes):
            raise UsageError(f"--batch_sizes is {','.join(map(str, self.batch_sizes))}; expected increasing, from 1")
        if self.output is not None and self.output.exists() and self.existing_output == "refuse":
            raise UsageError(f"--output {self.output} exists; name another file, or add --overwrite")

    @property
    def thread_counts(self) -> tuple[int, ...]:
        """Threads of one batch to try: the powers of two up to the cores, and the cores."""
        powers = [2**power for power in range(self.cores.bit_length()) if 2**power <= self.cores]
        return tuple(sorted({*powers, self.cores}))


def parse_tune(arguments: Sequence[str]) -> TuneOptions:
    """The options that the flags give.

    Raises:
      UsageError: a flag is missing, unknown, or has no valid value.
      SystemExit: after printing the help that was asked for.
    """
    return TuneOptions(**vars(_parser().parse_args(list(arguments))))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser("serving_config.tune", _DESCRIPTION)
    add = parser.add_argument
    add("--model", required=True, type=Path, metavar="DIR", help="exported version, or directory of versions")
    add("--latency_ms", type=float, default=20.0, metavar="MS", help="of 99 in 100 requests; default: %(default)g")
    add("--signature_name", default="log_prob", metavar="NAME", help="default: %(default)s")
    add("--batch_sizes", type=integers, default=DEFAULT_BATCH_SIZES, metavar="N,N", help="default: 1,2,4,...,1024")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    add("--cores", type=int, default=cores, metavar="N", help="that the server may use; default: %(default)s, all here")
    add("--seconds", type=float, default=0.5, metavar="S", help="for each row of the table; default: %(default)g")
    add("--output", type=Path, metavar="FILE", help="write batching_parameters.txt here")
    add(
        "--overwrite",
        dest="existing_output",
        action="store_const",
        const="replace",
        default="refuse",
        help="replace --output if it is there",
    )
    return parser
