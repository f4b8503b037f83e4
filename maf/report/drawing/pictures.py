"""What the model has learnt, to look at: p(x | c) over the rows, and event columns against each other."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from maf.report.drawing.axis import Axis
from maf.report.drawing.markup import Element, element, figure
from maf.report.drawing.svg import WIDTH, area, bottom_axis, dots, left_axis, polyline, steps, svg, text
from maf.report.drawing.wording import short, value_of, values_of
from maf.report.pictures import Cloud, Curve, Pairs, Picture, bin_count, histogram
from maf.report.report import Report

MAX_CONDITIONS = 3
MAX_BESIDE = 14  # of a name beside a small plot


def picture_section(report: Report) -> Element:
    """Pictures of neighbourhoods, then pairs of event columns."""
    dotted = report.pictures[0].cloud is not None
    key = [element("span", "the model", class_="model")]
    key.append(element("span", "test rows", class_="dot" if dotted else ""))
    pictures = [_picture(report, picture, index) for index, picture in enumerate(report.pictures)]
    halves = "grid halves" if len(pictures) in {2, 4} else "grid"
    return element(
        "section",
        element("h2", "What it has learnt"),
        element("p", _explanation(report), class_="soft"),
        element("div", *key, class_="key"),
        element("div", *pictures, class_=halves),
        *_pairs(report),
    )


def _explanation(report: Report) -> str:
    if not report.conditional_columns:
        return "The model's density of the event columns, and the test rows."
    many = len(report.conditional_columns) > 1
    how = "conditions of test rows, from those where a linear fit predicts least to those where it predicts most"
    return (
        f"The model's density for {how if many else 'some values of the condition'}, and the test rows whose "
        f"condition{'s are' if many else ' is'} nearest. The density is averaged over the conditions of these rows, "
        "so that the two should agree."
    )


def _picture(report: Report, picture: Picture, index: int) -> Element:
    columns = report.config.data.event
    title, detail = _captions(report, picture)
    charts = [curve_chart(curve, columns[curve.column]) for curve in picture.curves]
    if picture.cloud is not None:
        charts.append(cloud_chart(picture.cloud, columns, name=f"cloud-{index}"))
    return figure(title, detail, *charts)


def _captions(report: Report, picture: Picture) -> tuple[str, str]:
    names, condition = report.conditional_columns, picture.neighbourhood.condition
    rows = f"{len(picture.neighbourhood.rows):,} rows"
    if not names:
        return "All rows", rows
    shown = np.argsort(-np.array(report.influence), kind="stable")[:MAX_CONDITIONS]
    around = report.rows.c[picture.neighbourhood.rows]
    columns = report.config.data.columns
    title = ", ".join(f"{names[i]} = {value_of(columns[i], condition[i])}" for i in shown)
    ranges = [values_of(columns[i], around[:, i], condition[i]) for i in shown]
    hidden = len(names) - len(shown)
    more = f"; {hidden} more condition{'s' if hidden > 1 else ''}" if hidden else ""
    return title, f"{rows}, {', '.join(ranges)}{more}"


def _pairs(report: Report) -> list[Element]:
    if report.pairs is None:
        return []
    columns = report.config.data.event
    shown = len(report.pairs.ranges)
    first = f" The first {shown} of {len(columns)} event columns." if shown < len(columns) else ""
    names, told = columns[:shown], ""
    if any(len(name) > MAX_BESIDE for name in names):
        names = tuple(f"x[{i}]" for i in range(shown))
        told = " " + ", ".join(f"{name} is {column}" for name, column in zip(names, columns, strict=False)) + "."
    chart = figure(
        "Event columns against each other",
        f"Test rows below the diagonal and in the histograms; above it and as lines, one draw of the model for each "
        f"row, at the row's own condition. The two halves should mirror each other.{first}{told}",
        pairs_chart(report.pairs, names),
        wide="pairs",
    )
    return [element("div", chart, class_="after")]


MAX_NAME = 50
CONTRAST = 0.6  # below 1 thin parts of a density show too


def curve_chart(curve: Curve, column: str, *, height: float = 200) -> Element:
    """The model's density as a curve over the rows' histogram."""
    x = Axis(low=float(curve.rows.edges[0]), high=float(curve.rows.edges[-1]), start=12, end=WIDTH - 12)
    top = 1.08 * max(float(curve.rows.density.max()), float(curve.density.max())) or 1.0
    y = Axis(low=0, high=top, start=height - 42, end=6)
    histogram = steps(curve.rows.edges.tolist(), curve.rows.density.tolist(), x, y)
    if len(curve.points) == len(curve.density):
        outline = [(x.place(p), y.place(d)) for p, d in zip(curve.points.tolist(), curve.density.tolist(), strict=True)]
    else:
        outline = steps(curve.points.tolist(), curve.density.tolist(), x, y)
    return svg(
        f"Density of {column}: the rows as a histogram, the model as a curve",
        WIDTH,
        height,
        area(histogram, "data"),
        polyline(outline, "curve model"),
        *bottom_axis(x, y.start, short(column, MAX_NAME)),
    )


def cloud_chart(cloud: Cloud, columns: Sequence[str], *, name: str, height: float = 320) -> Element:
    """The model's density as a cloud, with rows as dots; `name` is one of its own on the page."""
    x, y = _cloud_axes(cloud, height)
    peak = float(np.quantile(cloud.density, 0.999)) or 1.0
    image = element(
        "image",
        href=opacity_png((np.clip(cloud.density[::-1] / peak, 0, 1)) ** CONTRAST),
        x=x.start,
        y=y.end,
        width=x.end - x.start,
        height=y.start - y.end,
        preserveAspectRatio="none",
        class_="cloud",
    )
    inside = [(x.place(a), y.place(b)) for a, b in cloud.dots.tolist() if x.low <= a <= x.high and y.low <= b <= y.high]
    return svg(
        f"Density of {columns[0]} and {columns[1]}: the model as a cloud, {len(inside)} rows as dots",
        WIDTH,
        height,
        *left_axis(y, x.start, x.end),
        element("mask", image, id=name, style="mask-type:alpha"),
        element(
            "rect",
            x=x.start,
            y=y.end,
            width=x.end - x.start,
            height=y.start - y.end,
            mask=f"url(#{name})",
            class_="model-fill",
        ),
        dots(inside, "dots data-dots"),
        text(short(columns[1], MAX_NAME), 4, 11, anchor="start", class_="name over"),
        *bottom_axis(x, y.start, short(columns[0], MAX_NAME)),
    )


def _cloud_axes(cloud: Cloud, height: float) -> tuple[Axis, Axis]:
    (low, high), (bottom, top) = cloud.ranges
    x = Axis(low=low, high=high, start=46, end=WIDTH - 12)
    return x, Axis(low=bottom, high=top, start=height - 42, end=20)


CELL, GAP, EDGE = 150.0, 8.0, 30.0
MAX_PAIR_DOTS = 500


def pairs_chart(pairs: Pairs, columns: Sequence[str]) -> Element:
    """A matrix of plots: one that mirrors its opposite if the model is right."""
    count = len(pairs.ranges)
    side = EDGE + count * (CELL + GAP)
    parts: list[Element] = []
    for row in range(count):
        for column in range(count):
            left, top = EDGE + column * (CELL + GAP), 2 + row * (CELL + GAP)
            parts.append(element("rect", x=left, y=top, width=CELL, height=CELL, class_="cell"))
            parts += _diagonal(pairs, row, left, top) if row == column else _scatter(pairs, row, column, left, top)
    for index in range(count):
        middle = index * (CELL + GAP) + CELL / 2
        parts.append(text(columns[index], EDGE + middle, side - 4, class_="name"))
        across = element("text", columns[index], text_anchor="middle", class_="name",
                         transform=f"translate(14 {2 + middle:g}) rotate(-90)")  # fmt: skip
        parts.append(across)
    chart = svg(
        f"{', '.join(columns[:count])} against each other: rows below the diagonal, draws above it",
        side,
        side + 4,
        *parts,
    )
    chart.set("style", f"--side: {side:g}")  # letters keep their size however wide the plot is
    return chart


def _diagonal(pairs: Pairs, index: int, left: float, top: float) -> list[Element]:
    low, high = pairs.ranges[index]
    bins = bin_count(len(pairs.rows))
    rows, draws = (histogram(each[:, index], low, high, bins=bins) for each in (pairs.rows, pairs.draws))
    x = Axis(low=low, high=high, start=left, end=left + CELL)
    y = Axis(low=0, high=1.1 * max(rows.density.max(), draws.density.max()) or 1.0, start=top + CELL, end=top)
    edges = rows.edges.tolist()
    return [
        area(steps(edges, rows.density.tolist(), x, y), "data"),
        polyline(steps(edges, draws.density.tolist(), x, y), "curve model"),
    ]


def _scatter(pairs: Pairs, row: int, column: int, left: float, top: float) -> list[Element]:
    values, kind = (pairs.rows, "data-dots") if row > column else (pairs.draws, "model-dots")
    across, up = pairs.ranges[column], pairs.ranges[row]
    x = Axis(low=across[0], high=across[1], start=left, end=left + CELL)
    y = Axis(low=up[0], high=up[1], start=top + CELL, end=top)
    inside = [
        (x.place(a), y.place(b))
        for a, b in values[:MAX_PAIR_DOTS, [column, row]].tolist()
        if x.low <= a <= x.high and y.low <= b <= y.high
    ]
    return [dots(inside, f"dots {kind}")]


Array = np.ndarray[Any, Any]
GREY_AND_ALPHA = 4


def opacity_png(opacity: Array) -> str:
    """`opacity` `[H, W]`, 0 to 1, first row on top, as a white PNG in a `data:` address (ISO/IEC 15948)."""
    height, width = opacity.shape
    pixels = np.full((height, width, 2), 255, np.uint8)
    pixels[..., 1] = np.rint(255 * np.clip(opacity, 0, 1))
    scanlines = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, GREY_AND_ALPHA, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(scanlines, 9))
    return "data:image/png;base64," + base64.b64encode(png + _chunk(b"IEND", b"")).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
