"""How likely the test rows are, how training went, and whether the model's probabilities are what happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from maf.report.drawing.wording import REGION
from maf_serving.calibration import LEVELS, column_verdict
from maf_serving.page import Element, after, card, element, figure, grid, key, note, section, table
from maf_serving.page_numbers import SPACE, difference, duration, fixed, level, nats, plural, with_error
from maf_serving.page_plots import (
    WIDTH,
    Axis,
    bars,
    bottom_axis,
    coverage_figures,
    distance_note,
    left_axis,
    line,
    polyline,
    svg,
    text,
    widen,
)

if TYPE_CHECKING:
    from maf.report.calibration import Calibration, ColumnCalibration
    from maf.report.likelihoods import Likelihoods
    from maf.report.report import Report
    from maf.run_directory import EpochRecord

ROW_HEIGHT = 46.0
CLIP = "training-frame"
MAX_CHARTS = 12


def quality_section(report: Report) -> Element:
    """NLL beside baselines, and the curves."""
    best = min(report.history, key=lambda record: record.validation_nll)
    cut_off = is_cut_off(report.history)
    seconds = sum(record.seconds for record in report.history)
    return section(
        "How likely the test rows are",
        _likelihood_explanation(report),
        grid(
            figure(
                "Beside simple densities",
                likelihood_chart(report.likelihoods, report.options.exact_entropy),
                _nll_table(report),
            ),
            figure(
                "Training",
                f"Mean NLL by epoch. The weights are those after epoch {best.epoch} of {len(report.history)}; "
                f"{duration(seconds)} of training." + (" The start is above the chart." if cut_off else ""),
                key(("soft", "training rows"), ("model", "validation rows")),
                training_chart(report.history),
            ),
        ),
    )


def _likelihood_explanation(report: Report) -> str:
    lost = report.likelihoods.rows_without_density
    left_out = f" {plural(lost, 'row')} left out: the model gives them no density." if lost else ""
    logarithmic = [report.data.event[index] for index in report.rows.logarithmic]
    scale = f", of {' and '.join(logarithmic)} on a log scale as the model is" if logarithmic else ""
    return (
        "The mean negative log-likelihood (NLL) says how much probability density the model put where the rows turned "
        "out to be. One nat less is 2.7 times the density. The baselines are fitted to the same training rows in "
        f"closed form{scale}." + left_out
    )


def _nll_table(report: Report) -> Element:
    model, *others = report.likelihoods.each
    rows = [(model.name, with_error(model.nll, model.standard_error), "")]
    rows += [
        (each.name, with_error(each.nll, each.standard_error), difference(each.excess, each.excess_error))
        for each in others
    ]
    entropy = report.options.exact_entropy
    if entropy is not None:
        rows.append(("exact entropy", nats(entropy), difference(entropy - model.nll)))
    return table("Mean NLL of each density", ("density", "mean NLL", "more than the model's"), rows)


def likelihood_chart(likelihoods: Likelihoods, exact_entropy: float | None) -> Element:
    """A dot for each density, with two standard errors to either side; the exact entropy as a line."""
    each = likelihoods.each
    ends = [one.nll + side * 2 * one.standard_error for one in each for side in (-1, 1)]
    low, high = widen(min([*ends, *_known(exact_entropy)]), max([*ends, *_known(exact_entropy)]), margin=0.07)
    head = 22.0 if exact_entropy is not None else 4.0
    bottom = head + ROW_HEIGHT * len(each)
    x = Axis(low=low, high=high, start=12, end=WIDTH - 12)
    parts: list[Element] = []
    for index, one in enumerate(each):
        y = head + ROW_HEIGHT * index + 34
        kind = "model" if index == 0 else "other"
        parts += [
            line(x.start, y, x.end, y, "rule"),
            line(
                x.place(one.nll - 2 * one.standard_error),
                y,
                x.place(one.nll + 2 * one.standard_error),
                y,
                f"bar-{kind}",
            ),
            element("circle", cx=x.place(one.nll), cy=y, r=5, class_=f"{kind}-dot"),
            text(
                f"{one.name}: {nats(one.nll)}",
                x.place(one.nll),
                y - 11,
                anchor=_anchor(x.place(one.nll)),
                class_="over strong" if index == 0 else "over",
            ),
        ]
    if exact_entropy is not None:
        place = x.place(exact_entropy)
        anchor = "start" if place < WIDTH / 2 else "end"
        parts = [
            line(place, 16, place, bottom, "guide"),
            text(
                f"exact entropy: {nats(exact_entropy)}",
                max(place - 4, 12) if anchor == "start" else place,
                11,
                anchor=anchor,
            ),
            *parts,
        ]
    label = "Mean NLL: " + ", ".join(f"{one.name} {nats(one.nll)}" for one in each) + " nats"
    return svg(label, WIDTH, bottom + 38, *parts, *bottom_axis(x, bottom, "mean NLL, nats per row; less is better"))


def _anchor(place: float) -> str:
    """To which side of a dot there is room for its words."""
    return "start" if place < 0.4 * WIDTH else "end" if place > 0.6 * WIDTH else "middle"


def _known(value: float | None) -> list[float]:
    return [] if value is None else [value]


def training_chart(history: Sequence[EpochRecord], *, height: float = 250) -> Element:
    """Training and validation NLL, and where the weights are from; a high start is cut off."""
    best = min(history, key=lambda record: record.validation_nll)
    low, high = _nll_range(history)
    last = max(history[-1].epoch, 2)
    y = Axis(low=low, high=high, start=height - 44, end=12)
    x = Axis(low=1, high=last, start=max(y.room, 40), end=WIDTH - 12)
    curves = [
        polyline(_nll_points(history, kind, x, y), f"curve {class_}")
        for kind, class_ in (("training_nll", "soft"), ("validation_nll", "model"))
    ]
    frame = element("rect", x=0.0, y=y.end, width=WIDTH, height=height - y.end)  # what is above it is not seen
    marker = element("circle", cx=x.place(best.epoch), cy=y.place(best.validation_nll), r=4.5, class_="model-dot")
    label = (
        f"Training and validation NLL over {last} epochs; the best validation NLL is {nats(best.validation_nll)} nats, "
        f"after epoch {best.epoch}"
    )
    return svg(
        label,
        WIDTH,
        height,
        *left_axis(y, x.start, x.end),
        line(x.place(best.epoch), y.place(best.validation_nll), x.place(best.epoch), y.start, "guide"),
        element("clipPath", frame, id=CLIP),
        element("g", *curves, clip_path=f"url(#{CLIP})"),
        marker,
        text("nats", 4, 10, anchor="start"),
        *bottom_axis(Axis(low=1, high=last, start=x.start, end=x.end), y.start, "epoch", count=min(5, last)),
    )


def is_cut_off(history: Sequence[EpochRecord]) -> bool:
    """Whether some of the curves is above the chart."""
    nlls = [value for record in history for value in (record.training_nll, record.validation_nll)]
    return any(value > _nll_range(history)[1] for value in nlls if np.isfinite(value))


def _nll_range(history: Sequence[EpochRecord]) -> tuple[float, float]:
    validation = np.array([record.validation_nll for record in history])
    values = np.array([*validation, *(record.training_nll for record in history)])
    values = values[np.isfinite(values)]
    low = float(values.min())
    typical = float(np.nanquantile(validation, 0.5)) - low
    return widen(low, min(float(values.max()), low + 6 * typical) if typical > 0 else float(values.max()))


def _nll_points(history: Sequence[EpochRecord], kind: str, x: Axis, y: Axis) -> list[tuple[float, float]]:
    values = [(record.epoch, getattr(record, kind)) for record in history]
    return [(x.place(epoch), y.place(nll)) for epoch, nll in values if np.isfinite(nll)]


def calibration_section(report: Report) -> Element:
    """Coverage, ranks of each column, a table of both."""
    calibration, fit = report.calibration, report.calibration.fit
    ranks = [
        figure(column.column, f"Ranks of the rows: {column_verdict(judged, fit)}.", rank_chart(column, calibration))
        for column, judged in zip(calibration.columns[:MAX_CHARTS], fit.columns, strict=False)
    ]
    more = len(calibration.columns) - len(ranks)
    draws = len(calibration.coverage) - 1
    curve = [((index + 1) / (draws + 1), share) for index, share in enumerate(calibration.coverage)]
    return section(
        "Calibration",
        f"Each of {calibration.rows:,} test rows{_worth(calibration)} is ranked among {draws} draws of the model at "
        "the row's own condition. If the model is right, the ranks are uniform: bars of the same height, and a "
        "coverage on the diagonal. Bars high at both ends: predicted too narrow; high in the middle: too wide. A "
        "perfect model stays within the shaded band in 95 of 100 cases.",
        grid(*coverage_figures(fit, curve, REGION)),
        after(grid(*ranks)),
        f"{plural(more, 'more event column')} in the table." if more > 0 else None,
        card(_table(calibration), note(_note(report))),
    )


def _worth(calibration: Calibration) -> str:
    worth = calibration.effective_rows
    return "" if worth is None else f", which tell as much as {worth:,.0f} of equal weight,"


def _table(calibration: Calibration) -> Element:
    header = (f"%{SPACE}of rows in", *map(level, LEVELS), "KS")
    joint = (REGION, *(fixed(100 * share, 1) for share in calibration.covered), fixed(calibration.distance, 3))
    rows = [
        (column.column, *(fixed(100 * share, 1) for share in column.covered), fixed(column.distance, 3))
        for column in calibration.columns
    ]
    return table("Shares of rows in regions and intervals", header, [joint, *rows])


def _note(report: Report) -> str:
    return (
        f"The {REGION} is the one of highest density, all event columns together; a column's are central intervals. "
        + distance_note(report.calibration.fit)
    )


def rank_chart(column: ColumnCalibration, calibration: Calibration, *, height: float = 240) -> Element:
    """Shares of the rows by probability, flat if right; the band is what chance does."""
    count = len(column.shares)
    band = calibration.share_by_chance
    top = max([*column.shares, 1 / count + band]) * 1.12
    x = Axis(low=0, high=1, start=12, end=WIDTH - 12)
    y = Axis(low=0, high=top, start=height - 42, end=6)
    upper, lower = y.place(1 / count + band), y.place(max(1 / count - band, 0))
    edges = [index / count for index in range(count + 1)]
    label = (
        f"{column.column}: shares of the rows by probability; largest cumulative difference {fixed(column.distance, 3)}"
    )
    return svg(
        label,
        WIDTH,
        height,
        *bars(edges, column.shares, x, y),
        element("rect", x=x.start, y=upper, width=x.end - x.start, height=lower - upper, class_="band"),
        line(x.start, y.place(1 / count), x.end, y.place(1 / count), "line-model"),
        *bottom_axis(x, y.start, "probability of smaller values, by the model", count=5),
    )
