"""Mean NLL of the model and of simple densities, on one scale."""

from __future__ import annotations

from maf.report.drawing.axis import Axis, widen
from maf.report.drawing.markup import Element, element
from maf.report.drawing.svg import WIDTH, bottom_axis, line, svg, text
from maf.report.likelihoods import Likelihoods

ROW_HEIGHT = 46.0


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
                f"{one.name}: {one.nll:.4f}",
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
                f"exact entropy: {exact_entropy:.4f}",
                max(place - 4, 12) if anchor == "start" else place,
                11,
                anchor=anchor,
            ),
            *parts,
        ]
    label = "Mean NLL: " + ", ".join(f"{one.name} {one.nll:.4f}" for one in each) + " nats"
    return svg(label, WIDTH, bottom + 38, *parts, *bottom_axis(x, bottom, "mean NLL, nats per row; less is better"))


def _anchor(place: float) -> str:
    """To which side of a dot there is room for its words."""
    return "start" if place < 0.4 * WIDTH else "end" if place > 0.6 * WIDTH else "middle"


def _known(value: float | None) -> list[float]:
    return [] if value is None else [value]
