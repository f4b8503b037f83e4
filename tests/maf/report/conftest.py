"""Small runs, each trained for a moment, and their reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, start_run
from maf.report.make_report import measure_run
from maf.report.options import ReportOptions

if TYPE_CHECKING:
    from maf.report.report import Report

HOSTILE = "<script>alert('x')</script> & \"more\""
KINDS = ("one", "price", "three", "two")
COLUMNS = {
    "one": (("y",), ("c",)),
    "two": ((HOSTILE, "x1"), ("a_condition_of_a_name_that_is_rather_long", "c1", "c2", "c3")),
    "three": (("x0", "x1", "a_column_of_a_name_that_is_rather_long"), ()),
}


def make_rows(event_size: int, condition_size: int, rows: int, seed: int) -> np.ndarray[Any, Any]:
    """Two modes in the first event column, skew in the others; all move with the conditions."""
    rng = np.random.default_rng(seed)
    c = rng.normal(50, 3, (rows, condition_size))
    x = rng.normal(size=(rows, event_size)) + 0.4 * (c - 50).sum(axis=1, keepdims=True)
    x[:, 0] += 4 * rng.choice([-1, 1], rows)
    x[:, 1:] = np.exp(x[:, 1:] / 4) + 0.2 * x[:, :1]
    return np.concatenate([1_000 + 10 * x, c], axis=1)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run for each kind of event."""
    directory = tmp_path_factory.mktemp("runs")
    for seed, (name, (event, condition)) in enumerate((COLUMNS | {"price": (("price", "x1"), ("c",))}).items()):
        rows = make_rows(len(event), len(condition), 4_000, seed)
        if name == "price":  # over four magnitudes
            rows[:, 0] = np.exp(7 + rows[:, 2] / 3 - 50 / 3 + np.random.default_rng(seed).normal(size=len(rows)))
        table = directory / f"{name}.parquet"
        pq.write_table(pa.table(dict(zip((*event, *condition), rows.T, strict=True))), table)
        config = RunConfig(
            data=DataConfig(data=(str(table),), event=event, condition=condition),
            flow=FlowConfig(
                event_size=len(event),
                condition_size=len(condition),
                num_layers=2,
                hidden_units=(16,),
                condition_units=(16,),
            ),
            training=TrainingConfig(batch_size=128, max_epochs=3, jit_compile="off"),
        )
        start_run(config, directory / name, announce=lambda _: None)
    return {name: directory / name for name in KINDS}


@pytest.fixture(scope="session")
def report_of(runs: dict[str, Path]) -> Callable[..., Report]:
    """The report of a run, each made once."""
    made: dict[tuple[Any, ...], Report] = {}

    def of(name: str, **options: Any) -> Report:
        key = (name, *sorted(options.items()))
        if key not in made:
            made[key] = measure_run(ReportOptions(run=runs[name], **options), announce=lambda _: None)
        return dataclasses.replace(made[key])

    return of
