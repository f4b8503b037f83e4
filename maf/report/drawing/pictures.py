"""What the model has learnt, to look at: p(x | c) over the rows, and event columns against each other."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maf.report.drawing.wording import value_of, values_of
from maf.report.pictures import Cloud, Curve, Pairs, Picture, bin_count, histogram
from maf_serving.page import Element, after, element, figure, grid, key, section, short
from maf_serving.page_plots import (
    WIDTH,
    Axis,
    area,
    bottom_axis,
    dots,
    left_axis,
    polyline,
    steps,
    svg,
    text,
)

if TYPE_CHECKING:
    from maf.report.report import Report

MAX_CONDITIONS = 3
MAX_BESIDE = 14  # of a name beside a small plot
MAX_NAME = 50
CONTRAST = 0.6  # below 1 thin parts of a density show too
CELL, GAP = 150.0, 8.0  # of a plot of pairs
MAX_PAIR_DOTS = 500
GREY_AND_ALPHA = 4  # of a PNG's pixels
LETTER_OF_SIDE = 0.036  # height of letters on a phone, relative to the plots of pairs


def picture_section(report: Report) -> Element:
    """Pictures of neighbourhoods, then pairs of event columns."""
    dotted = report.pictures[0].cloud is not None
    pictures = [_picture(report, picture, index) for index, picture in enumerate(report.pictures)]
    return section(
        "What it has learnt",
        _explanation(report),
        key(("model", "the model"), ("dot" if dotted else "data", "test rows")),
        grid(*pictures),
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
    columns = report.data.event
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
    columns = report.data.columns
    title = ", ".join(f"{names[i]} = {value_of(columns[i], condition[i])}" for i in shown)
    ranges = [values_of(columns[i], around[:, i], condition[i]) for i in shown]
    hidden = len(names) - len(shown)
    more = f"; {hidden} more condition{'s' if hidden > 1 else ''}" if hidden else ""
    return title, f"{rows}, {', '.join(ranges)}{more}"


def _pairs(report: Report) -> list[Element]:
    if report.pairs is None:
        return []
    columns = report.data.event
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
    return [after(chart)]


def curve_chart(curve: Curve, column: str, *, height: float = 200) -> Element:
    """The model's density as a curve over the rows' histogram."""
    x = curve.rows.range.axis(12, WIDTH - 12)
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
    scale = ", log scale" if y.scale == "log" else ""
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
    inside = [(x.place(a), y.place(b)) for a, b in cloud.dots.tolist() if x.holds(a) and y.holds(b)]
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
        text(short(columns[1], MAX_NAME) + scale, 4, 11, anchor="start", class_="name over"),
        *bottom_axis(x, y.start, short(columns[0], MAX_NAME)),
    )


def _cloud_axes(cloud: Cloud, height: float) -> tuple[Axis, Axis]:
    y = cloud.ranges[1].axis(height - 42, 20)
    return cloud.ranges[0].axis(max(y.room, 40), WIDTH - 14), y


def pairs_chart(pairs: Pairs, columns: Sequence[str]) -> Element:
    """A matrix of plots: one that mirrors its opposite if the model is right."""
    count = len(pairs.ranges)
    letter = LETTER_OF_SIDE * (count * (CELL + GAP))
    edge = 3.2 * letter  # for the values and the names below and beside
    side = edge + count * (CELL + GAP)
    parts: list[Element] = []
    for row in range(count):
        for column in range(count):
            left, top = edge + column * (CELL + GAP), 2 + row * (CELL + GAP)
            parts.append(element("rect", x=left, y=top, width=CELL, height=CELL, class_="cell"))
            parts += _diagonal(pairs, row, left, top) if row == column else _scatter(pairs, row, column, left, top)
    bottom = 2 + count * (CELL + GAP) - GAP
    for index, name in enumerate(columns[:count]):
        start = index * (CELL + GAP)
        words = name + (", log" if pairs.ranges[index].scale == "log" else "")
        below = _pair_labels(pairs.ranges[index].axis(edge + start, edge + start + CELL), letter)
        parts += [text(label, place, bottom + 1.2 * letter) for place, label in below]
        parts.append(text(words, edge + start + CELL / 2, bottom + 2.5 * letter, class_="name"))
        beside = _pair_labels(pairs.ranges[index].axis(2 + start + CELL, 2 + start), letter)
        beside = beside if index else []  # the first plot's height is a density
        parts += [_upright(label, edge - 0.5 * letter, place) for place, label in beside]
        parts.append(_upright(words, edge - 1.8 * letter, 2 + start + CELL / 2, class_="name"))
    chart = svg(
        f"{', '.join(columns[:count])} against each other: rows below the diagonal, draws above it",
        side,
        side + 4,
        *parts,
    )
    chart.set("style", f"--side: {side:.0f}")  # letters keep their size however wide the plot is
    return chart


def _pair_labels(axis: Axis, letter: float) -> list[tuple[float, str]]:
    """Places of ticks and what is written there, as far as there is room."""
    shown: list[tuple[float, str]] = []
    low, high = sorted((axis.start, axis.end))
    end = low - 0.3 * letter
    for place, words in sorted((axis.place(tick), words) for tick, words in axis.labels(2)):
        half = 0.28 * letter * len(words)
        if place - half >= end and place + half <= high + 0.3 * letter:
            shown.append((place, words))
            end = place + half + 0.35 * letter
    return shown


def _upright(words: str, x: float, y: float, class_: str = "") -> Element:
    return element(
        "text", words, text_anchor="middle", class_=class_, transform=f"translate({x:.1f} {y:.1f}) rotate(-90)"
    )


def _diagonal(pairs: Pairs, index: int, left: float, top: float) -> list[Element]:
    shown, bins = pairs.ranges[index], bin_count(len(pairs.rows))
    rows, draws = (histogram(each[:, index], shown, bins=bins) for each in (pairs.rows, pairs.draws))
    x = shown.axis(left, left + CELL)
    y = Axis(low=0, high=1.1 * max(rows.density.max(), draws.density.max()) or 1.0, start=top + CELL, end=top)
    edges = rows.edges.tolist()
    return [
        area(steps(edges, rows.density.tolist(), x, y), "data"),
        polyline(steps(edges, draws.density.tolist(), x, y), "curve model"),
    ]


def _scatter(pairs: Pairs, row: int, column: int, left: float, top: float) -> list[Element]:
    values, kind = (pairs.rows, "data-dots") if row > column else (pairs.draws, "model-dots")
    x = pairs.ranges[column].axis(left, left + CELL)
    y = pairs.ranges[row].axis(top + CELL, top)
    chosen = values[:MAX_PAIR_DOTS, [column, row]].tolist()
    inside = [(x.place(a), y.place(b)) for a, b in chosen if x.holds(a) and y.holds(b)]
    return [dots(inside, f"dots {kind}")]


Array = np.ndarray[Any, Any]


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
