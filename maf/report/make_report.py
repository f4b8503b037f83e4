"""From a run directory to the numbers of its report, and to the page as a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from maf.errors import RunError
from maf.report.calibration import calibrate
from maf.report.drawing.page import draw_page
from maf.report.likelihoods import compare_likelihoods
from maf.report.model import ReportModel
from maf.report.neighbourhoods import choose_neighbourhoods, influence
from maf.report.pictures import make_pairs, make_pictures
from maf.report.report import Report
from maf.report.rows import ReportRows, read_report_rows
from maf.run_directory import EpochRecord, RunDirectory, read_run
from maf_serving.command import when_interrupted

if TYPE_CHECKING:
    from maf.report.options import ReportOptions


def measure_run(options: ReportOptions, *, announce: Callable[[str], object]) -> Report:
    """Reads the run and its rows, and measures.

    Raises:
      RunError: if the run is none, not finished or damaged.
      DataError: if its table, or the test rows asked for, cannot be read.
    """
    directory = RunDirectory(options.run)
    config = directory.read_config()
    history = _read_history(directory)
    run = read_run(options.run)
    model = ReportModel(run.distribution, run.condition_columns)
    rows = read_report_rows(
        options,
        config.data,
        run.training_summary,
        dtype=config.flow.dtype,
        seed=config.training.seed,
        logarithmic=config.flow.logarithmic or (),
    )
    announce(f"rows: {rows.test_rows:,} test" + _sampled(rows))
    likelihoods = compare_likelihoods(model.log_prob(rows.x, rows.c), rows)
    announce("ranking test rows among the model's draws")
    calibration = calibrate(model, rows.x, rows.c, rows.weights, columns=run.event_columns, seed=options.seed)
    announce("drawing p(x | c)" if rows.c.shape[1] else "drawing p(x)")
    shown = rows.counted_alike()
    neighbourhoods = choose_neighbourhoods(shown)
    return Report(
        options=options,
        data=config.data,
        flow=config.flow,
        seed=config.training.seed,
        summary=run.training_summary,
        history=history,
        profile=run.profile,
        conditional_columns=tuple(column.measured_name for column in run.condition_columns),
        influence=tuple(influence(shown).tolist()) if rows.c.shape[1] else (),
        parameters=sum(int(np.prod(each.shape)) for each in run.distribution.trainable_variables),
        rows=rows,
        likelihoods=likelihoods,
        calibration=calibration,
        pictures=make_pictures(model, shown, neighbourhoods, seed=options.seed),
        pairs=make_pairs(model, shown, seed=options.seed),
    )


def _read_history(directory: RunDirectory) -> tuple[EpochRecord, ...]:
    try:
        lines = directory.history.read_text(encoding="utf-8").splitlines()
        return tuple(EpochRecord(**json.loads(line)) for line in lines)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{directory.history} cannot be read ({error}); expected the history of a run") from error


def _sampled(rows: ReportRows) -> str:
    return f", of which {len(rows.x):,} sampled" if len(rows.x) < rows.test_rows else ""


def write_report(options: ReportOptions, *, announce: Callable[[str], object] = print) -> str:
    """Measures, and writes the page; returns what to tell the person at its end.

    Raises:
      MafError: if the run or the rows cannot be read, or the page cannot be written.
    """
    report = measure_run(options, announce=announce)
    page = options.page
    partial = page.with_name(page.name + ".partial")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        with when_interrupted(lambda _: partial.unlink(missing_ok=True)):
            partial.write_text(draw_page(report), encoding="utf-8")
            partial.replace(page)
    except OSError as error:
        raise RunError(f"report {page} cannot be written: {error.strerror}") from error
    lines = [
        f"test NLL  {each.nll:9.4f} ± {each.standard_error:.4f} nats, {each.name}" for each in report.likelihoods.each
    ]
    return "\n".join([*lines, f"report    {page}"])
