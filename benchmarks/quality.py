"""`python -m benchmarks.quality`: test NLL on tables with published figures, or flows beside what is known exactly.

Tables are Parquet files with conditions `f0`, `f1`, ..., a target `y` and boolean columns `test_0`, `test_1`, ... that
say which rows are held out. A model is trained on the other rows with default settings, which also take their
validation rows from those; the held-out rows are scored once, at the end. With `--densities` it is densities with a
known answer, with `--sbi` tasks of simulation-based inference, whose posteriors are known exactly, with `--wide` one
long table of 80 event columns, learnt in so many seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from benchmarks.plot_posterior import plot_posterior
from benchmarks.quality_densities import DENSITIES, known_density_line
from benchmarks.quality_sbi import compare, observe
from benchmarks.quality_tables import FIGURES, train_on_split
from benchmarks.quality_wide import COLUMNS, CONDITIONS, measure_wide
from benchmarks.sbi_tasks import TASKS, task_named
from maf_serving.quiet_tensorflow import import_with_probability

SPLITS = (0, 1, 2, 3, 4)
PICTURED, PICTURE = ("two moons", "slcp"), 1  # tasks, and which observation of them


def main() -> int:
    """Prints a line for each table, density or task; 0 also where the tables are absent, which is said."""
    arguments = _parse()
    if not arguments.wide:
        import_with_probability()
    chosen = {_densities: arguments.densities, _sbi: arguments.sbi, _wide: arguments.wide}
    measure = next((kind for kind, is_chosen in chosen.items() if is_chosen), _tables)
    results = list(measure(arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--tables", type=Path, default=Path("data/uci"), metavar="DIR", help="default data/uci")
    parser.add_argument(
        "--only", type=_names, default=(), metavar="NAME,...", help="these tables, densities or tasks alone"
    )
    parser.add_argument("--splits", type=_numbers, default=SPLITS, metavar="K,...", help="of tables; default 0,1,2,3,4")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--densities", action="store_true", help="densities with a known answer instead of tables")
    kinds.add_argument("--sbi", action="store_true", help="posteriors of simulators instead of tables")
    kinds.add_argument("--wide", action="store_true", help="a long table of 80 event columns instead of tables")
    parser.add_argument(
        "--options",
        type=shlex.split,
        default=(),
        metavar="'--FLAG VALUE ...'",
        help="of train, for all but tables",
    )
    sbi = parser.add_argument_group("of --sbi")
    sbi.add_argument("--simulations", type=_numbers, default=(10_000,), metavar="N,...", help="default 10000")
    sbi.add_argument("--seeds", type=_numbers, default=(0,), metavar="SEED,...", help="a flow for each; default 0")
    sbi.add_argument("--observations", type=int, default=10, metavar="N", help="posteriors compared; default 10")
    sbi.add_argument("--draws", type=int, default=2_000, metavar="N", help="of each posterior; default 2000")
    sbi.add_argument("--not_told", action="store_true", help="flows do not know the bounds of the prior")
    sbi.add_argument("--plot", type=Path, metavar="DIR", help="pictures of two posteriors: posterior-TASK.png")
    wide = parser.add_argument_group("of --wide")
    wide.add_argument("--rows", type=int, default=500_000, metavar="N", help="of the table; default 500000")
    wide.add_argument("--seconds", type=float, default=900, metavar="S", help="of training; default 900")
    return parser.parse_args()


def _tables(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    names = [name for name in arguments.only or FIGURES if (arguments.tables / f"{name}.parquet").is_file()]
    for name in arguments.only or FIGURES:
        if name not in names:
            print(f"skipped {name}: {arguments.tables / name}.parquet is not there; name its directory with --tables")
    if names:
        print(_row("table", [f"test_{split}" for split in arguments.splits], "mean", "sd", "to reach", "seconds"))
    for name in names:
        started = time.perf_counter()
        nlls = []
        for split in tqdm(arguments.splits, desc=name, disable=None, leave=False):
            with TemporaryDirectory() as directory:
                nlls.append(train_on_split(arguments.tables / f"{name}.parquet", split, Path(directory)))
        mean, deviation = statistics.fmean(nlls), statistics.stdev(nlls) if len(nlls) > 1 else 0.0
        seconds = (time.perf_counter() - started) / len(nlls)
        goal = FIGURES.get(name)
        shown = f"<= {goal:.2f}" if goal is not None else ""
        cells = [f"{nll:.3f}" for nll in nlls]
        print(_row(name, cells, f"{mean:.3f}", f"{deviation:.3f}", shown, f"{seconds:.0f}"), flush=True)
        yield {"table": name, "test_nll": nlls, "mean": mean, "sd": deviation, "to_reach": goal, "seconds": seconds}


def _densities(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    print(f"{'density':28s}  test NLL   truth   above   goal  outside    edge  seconds")
    for name in arguments.only or DENSITIES:
        started = time.perf_counter()
        found = known_density_line(name, options=arguments.options)
        seconds = time.perf_counter() - started
        goal = 0.03 if found.outside is None else 0.02
        outside, edge = ("" if value is None else f"{value:.5f}" for value in (found.outside, found.edge))
        shown = f"{found.nll:8.4f}  {found.truth:6.3f}  {found.nll - found.truth:6.4f}  <={goal:.2f}"
        print(f"{name:28s}  {shown}  {outside:>7s}  {edge:>7s}  {seconds:7.0f}", flush=True)
        yield {"density": name, "test_nll": found.nll, **dataclasses.asdict(found), "seconds": seconds}


def _sbi(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    judged = f"{arguments.observations} posteriors by {arguments.draws:,} draws of each"
    print(f"C2ST of {judged}; 0.5 is perfect. Seeds {arguments.seeds}: +- is the standard error between their flows")
    print(f"{'task':24s}{'simulations':>12s}    C2ST      +-    best   worst  published  outside  training  judging")
    for name in arguments.only or TASKS:
        task = task_named(name)
        observed = observe(task, observations=arguments.observations, draws=arguments.draws)
        for simulations in arguments.simulations:
            found = compare(
                dataclasses.replace(task, is_told=not arguments.not_told),
                observed,
                simulations=simulations,
                seeds=arguments.seeds,
                options=arguments.options,
            )
            posteriors = found.c2st.mean(axis=0)
            figures = (found.mean, found.error, posteriors.min(), posteriors.max())
            shown = "".join(f"{'' if figure is None else f'{figure:.3f}':>8s}" for figure in figures)
            published = f"{task.published.get(simulations, '')!s:>11s}"
            seconds = f"{found.training:10.0f}{found.judging:9.0f}"
            print(f"{name:24s}{simulations:12,d}{shown}{published}{found.outside:9.2%}{seconds}", flush=True)
            if arguments.plot and name in PICTURED:
                path = arguments.plot / f"posterior-{name.replace(' ', '-')}.png"
                plot_posterior(observed[PICTURE].exact, found.drawn[PICTURE], path)
            yield {
                "task": name,
                "simulations": simulations,
                "seeds": list(arguments.seeds),
                "c2st": found.c2st.tolist(),
                "outside": found.outside,
                "draws": arguments.draws,
                "training_seconds": found.training,
            }


def _wide(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with TemporaryDirectory() as directory:
        found = measure_wide(Path(directory), rows=arguments.rows, seconds=arguments.seconds, options=arguments.options)
    print(f"{arguments.rows:,} rows of {COLUMNS} event and {CONDITIONS} conditional columns")
    print(f"test NLL {found.nll:.3f} +- {found.error:.3f}, truth {found.truth:.3f}", end=": ")
    print(f"{found.above_by_column:.4f} nats a column above the truth")
    print(f"{found.epochs} epochs, {found.seconds:.0f} s in all, at most {found.peak_memory:.1f} GiB")
    yield {"rows": arguments.rows, "above_by_column": found.above_by_column, **dataclasses.asdict(found)}


def _row(name: str, splits: Sequence[str], *others: str) -> str:
    return f"{name:28s}" + "".join(f"{cell:>8s}" for cell in splits) + "".join(f"{cell:>9s}" for cell in others)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _names(text))


if __name__ == "__main__":
    sys.exit(main())
