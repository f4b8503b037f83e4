"""The plots of the report, as SVG elements. Colours come from the page's style, so they follow dark and light."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from beam_jobs.report.axis import Axis, widen
from beam_jobs.report.markup import Element, element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.evaluation.results import GroupResult, Histogram

_ROW_HEIGHT = 22.0
_HEAD_ROOM = 1.08


def histogram_chart(
    histogram: Histogram, *, title: str, label: str, width: float = 420, height: float = 220
) -> Element:
    """Bars, and the reference as a line if there is one."""
    edges, shares = histogram.edges, histogram.shares
    top = max([*shares, *histogram.reference]) * _HEAD_ROOM or 1.0
    x = Axis(low=edges[0], high=edges[-1], start=14, end=width - 10)
    y = Axis(low=0, high=top, start=height - 40, end=8)
    bars = [
        element(
            "rect",
            element("title", f"{left:.4g} to {right:.4g}: {100 * share:.3g} %"),
            x=x.place(left),
            y=y.place(share),
            width=max(x.place(right) - x.place(left) - 0.6, 0.4),
            height=y.place(0) - y.place(share),
            class_="bar",
        )
        for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True)
    ]
    line = []
    if histogram.reference:
        centres = [(left + right) / 2 for left, right in itertools.pairwise(edges)]
        line = [_polyline([(x.place(c), y.place(s)) for c, s in zip(centres, histogram.reference, strict=True)])]
    return _svg(title, width, height, *bars, *line, *_bottom_axis(x, y.place(0), label))


def coverage_chart(curve: Sequence[tuple[float, float]], *, width: float = 420, height: float = 300) -> Element:
    """Observed against expected coverage: a calibrated model follows the diagonal."""
    x = Axis(low=0, high=1, start=44, end=width - 24)
    y = Axis(low=0, high=1, start=height - 42, end=8)
    points = [(x.place(expected), y.place(observed)) for expected, observed in [(0.0, 0.0), *curve, (1.0, 1.0)]]
    labels = []
    for tick in y.ticks():
        labels.append(element("text", f"{100 * tick:.0f}", x=x.start - 6, y=y.place(tick) + 4, text_anchor="end"))
        labels.append(_line(x.start, y.place(tick), x.end, y.place(tick), "grid"))
    return _svg(
        "Coverage of central regions",
        width,
        height,
        *labels,
        _line(x.place(0), y.place(0), x.place(1), y.place(1), "diagonal"),
        _polyline(points, class_="curve"),
        *_bottom_axis(x, y.place(0), "expected %, of growing central regions", percent=True),
        element("text", "observed %", x=-(y.start + y.end) / 2, y=12, transform="rotate(-90)", text_anchor="middle"),
    )


def nll_chart(groups: Sequence[GroupResult], *, width: float = 420) -> Element:
    """Mean NLL of each group, with two standard errors to either side."""
    known = [group for group in groups if group.mean_nll is not None]
    ends = [
        (group.mean_nll or 0.0) + side * 2 * (group.nll_standard_error or 0.0) for group in known for side in (-1, 1)
    ]
    low, high = widen(min(ends), max(ends))
    margin = 0.04 * (high - low)
    height = _ROW_HEIGHT * len(known) + 50
    x = Axis(low=low - margin, high=high + margin, start=136, end=width - 24)
    rows: list[Element] = []
    for index, group in enumerate(known):
        y = _ROW_HEIGHT * (index + 0.7)
        mean, error = group.mean_nll or 0.0, 2 * (group.nll_standard_error or 0.0)
        rows.append(element("text", _short(group.group or ""), x=126, y=y + 4, text_anchor="end"))
        rows.append(_line(x.place(mean - error), y, x.place(mean + error), y, "interval"))
        tooltip = element("title", f"{group.group}: {mean:.4f} ± {error / 2:.4f}")
        rows.append(element("circle", tooltip, cx=x.place(mean), cy=y, r=4, class_="point"))
    return _svg("Mean NLL by group", width, height, *rows, *_bottom_axis(x, height - 40, "mean NLL, nats"))


def _bottom_axis(x: Axis, y: float, label: str, *, percent: bool = False) -> list[Element]:
    parts = [_line(x.start, y, x.end, y, "axis")]
    for tick in x.ticks():
        text = f"{100 * tick:.0f}" if percent else f"{tick:g}"
        parts.append(_line(x.place(tick), y, x.place(tick), y + 4, "axis"))
        parts.append(element("text", text, x=x.place(tick), y=y + 17, text_anchor="middle"))
    parts.append(element("text", label, x=(x.start + x.end) / 2, y=y + 34, text_anchor="middle", class_="label"))
    return parts


def _svg(title: str, width: float, height: float, *children: Element) -> Element:
    name = element("title", title)
    return element("svg", name, *children, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=title)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Element:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _polyline(points: Sequence[tuple[float, float]], class_: str = "reference") -> Element:
    return element("polyline", points=" ".join(f"{x:.2f},{y:.2f}" for x, y in points), class_=class_)


def _short(text: str, limit: int = 18) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
