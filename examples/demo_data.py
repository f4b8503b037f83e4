"""`python -m examples.demo_data`: rows of the demo density, for training and held out."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from examples.demo_density import CONDITIONAL_COLUMNS, EVENT_COLUMNS, sample, sample_conditions


def write_rows(path: Path, num_rows: int, seed: int) -> None:
    """Writes `num_rows` draws as Parquet, with a row number in column `id`."""
    rng = np.random.default_rng(seed)
    c = sample_conditions(num_rows, rng)
    columns = np.concatenate([sample(c, rng), c], axis=1)
    table = dict(zip((*EVENT_COLUMNS, *CONDITIONAL_COLUMNS), columns.T, strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": np.arange(num_rows), **table}), path, row_group_size=50_000)
    print(f"{path}: {num_rows:,} rows")


def main() -> None:
    """Parses and writes both files."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo_data", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("data/demo"), help="directory (default data/demo)")
    parser.add_argument("--rows", type=int, default=200_000, help="rows for training (default 200000)")
    parser.add_argument("--held_out_rows", type=int, default=50_000, help="rows held out (default 50000)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    arguments = parser.parse_args()
    write_rows(arguments.output / "train.parquet", arguments.rows, arguments.seed)
    write_rows(arguments.output / "held_out.parquet", arguments.held_out_rows, arguments.seed + 1)


if __name__ == "__main__":
    main()
