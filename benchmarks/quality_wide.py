"""A wide, long table with a known answer: how near the truth training comes in so many seconds, and in what memory."""

from __future__ import annotations

import dataclasses
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from benchmarks.known_density import KnownDensity

if TYPE_CHECKING:
    from benchmarks.known_density import Array

COLUMNS, CONDITIONS = 80, 10
PARTS, FACTORS = 4, 8
NOISE = 0.5
TEST_ROWS = 20_000
BLOCK_ROWS = 20_000
RUN = "import sys; from maf_serving.cli import main; sys.exit(main())"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WideOutcome:
    """How a flow compares with the truth on rows of its own, and what its training took.

    Attributes:
      nll, error, truth: mean NLL of the flow on test rows and its standard error, and that of the density, nats.
      epochs: passes over the training rows, or begun.
      seconds: of the command, from its start to its end.
      peak_memory: most resident memory of it, GiB.
    """

    nll: float
    error: float
    truth: float
    epochs: int
    seconds: float
    peak_memory: float

    @property
    def above_by_column(self) -> float:
        """Nats above the truth, for each event column."""
        return (self.nll - self.truth) / COLUMNS


def wide_density() -> KnownDensity:
    """80 columns given 10: a mixture of four normals, each of eight factors and noise, bent column by column.

    The condition moves places and weights. Columns are bent by `y = sinh(arcsinh(x) + skew)` (Jones and Pewsey 2009).
    """
    rng = np.random.default_rng(3)
    votes = rng.normal(size=(PARTS, CONDITIONS))
    place, slope = rng.normal(size=(PARTS, COLUMNS)), 0.3 * rng.normal(size=(PARTS, COLUMNS, CONDITIONS))
    loadings = rng.normal(size=(PARTS, COLUMNS, FACTORS)) / math.sqrt(FACTORS)
    skew = rng.uniform(-0.5, 0.5, COLUMNS)
    covariance = loadings @ loadings.transpose(0, 2, 1) + NOISE**2 * np.eye(COLUMNS)
    factor = np.linalg.cholesky(covariance)
    inverse, log_determinant = np.linalg.inv(factor), np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)

    def parameters(c: Array) -> tuple[Array, Array]:
        weights = np.exp(c @ votes.T)
        return weights / weights.sum(axis=1, keepdims=True), place + np.einsum("kdc,nc->nkd", slope, c)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        c = rng.normal(size=(n, CONDITIONS))
        weights, loc = parameters(c)
        chosen = (rng.random((n, 1)) > weights.cumsum(axis=1)[:, :-1]).sum(axis=1)
        noise = np.empty((n, COLUMNS))
        for part in range(PARTS):
            rows = chosen == part
            noise[rows] = rng.normal(size=(rows.sum(), COLUMNS)) @ factor[part].T
        return np.sinh(np.arcsinh(loc[np.arange(n), chosen] + noise) + skew), c

    def log_prob(x: Array, c: Array) -> Array:
        weights, loc = parameters(c)
        bent = np.arcsinh(x) - skew
        unbent = np.sinh(bent)
        of_each = np.log(weights) - log_determinant - COLUMNS / 2 * math.log(2 * math.pi)
        for part in range(PARTS):
            of_each[:, part] -= 0.5 * (((unbent - loc[:, part]) @ inverse[part].T) ** 2).sum(axis=1)
        log_slope = np.log(np.cosh(bent)) - 0.5 * np.log1p(x**2)
        result: Array = np.logaddexp.reduce(of_each, axis=1) + log_slope.sum(axis=1)
        return result

    return KnownDensity(sample, log_prob)


def measure_wide(
    directory: Path, *, rows: int, seconds: float, test_rows: int = TEST_ROWS, options: Sequence[str] = ()
) -> WideOutcome:
    """Writes the table to `directory` and has `maf-serving train` learn it, in a process of its own.

    Args:
      directory: for the tables and the run.
      rows: of the table, from which the command takes its validation rows.
      seconds: of training, `--max_seconds`.
      test_rows: of another table, with which flow and truth are compared.
      options: more of the command.

    Raises:
      CalledProcessError: if the command failed.
    """
    density = wide_density()
    event, condition = ([f"{name}{i}" for i in range(n)] for name, n in (("x", COLUMNS), ("c", CONDITIONS)))
    _write(directory / "rows.parquet", density, [*event, *condition], rows, seed=0)
    truth = _write(directory / "test.parquet", density, [*event, *condition], test_rows, seed=1)
    command = [sys.executable, "-c", RUN, "train", "--input", str(directory / "rows.parquet")]
    command += ["--test_input", str(directory / "test.parquet"), "--run", str(directory / "run")]
    command += ["--event", ",".join(event), "--condition", ",".join(condition), "--max_seconds", f"{seconds:g}"]
    started = time.perf_counter()
    subprocess.run([*command, *options], check=True)  # noqa: S603  # a command of ours
    elapsed = time.perf_counter() - started
    summary = json.loads((directory / "run" / "summary.json").read_text(encoding="utf-8"))
    return WideOutcome(
        nll=summary["test_nll"],
        error=summary["test_nll_standard_error"],
        truth=truth,
        epochs=summary["epochs"],
        seconds=elapsed,
        peak_memory=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20,
    )


def _write(path: Path, density: KnownDensity, names: Sequence[str], rows: int, *, seed: int) -> float:
    """Writes so many rows, a block at a time; returns the mean NLL of the density on them, nats."""
    rng, total = np.random.default_rng(seed), 0.0
    with pq.ParquetWriter(path, pa.schema([(name, pa.float32()) for name in names])) as writer:
        for start in tqdm(range(0, rows, BLOCK_ROWS), desc=path.name, disable=None, leave=False):
            x, c = density.sample(min(BLOCK_ROWS, rows - start), rng)
            total -= float(density.log_prob(x, c).sum())
            block = np.concatenate([x, c], axis=1).astype(np.float32)
            writer.write_table(pa.table(dict(zip(names, block.T, strict=True)), schema=writer.schema))
    return total / rows
