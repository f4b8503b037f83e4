"""NLL by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maf.report.drawing.axis import Axis, widen
from maf.report.drawing.markup import Element, element
from maf.report.drawing.svg import WIDTH, bottom_axis, left_axis, line, polyline, svg, text
from maf.training_state import EpochRecord

CLIP = "training-frame"


def training_chart(history: Sequence[EpochRecord], *, height: float = 250) -> Element:
    """Training and validation NLL, and where the weights are from; a high start is cut off."""
    best = min(history, key=lambda record: record.validation_nll)
    low, high = _range(history)
    last = max(history[-1].epoch, 2)
    x = Axis(low=1, high=last, start=50, end=WIDTH - 12)
    y = Axis(low=low, high=high, start=height - 44, end=12)
    curves = [
        polyline(_points(history, kind, x, y), f"curve {class_}")
        for kind, class_ in (("training_nll", "soft"), ("validation_nll", "model"))
    ]
    frame = element("rect", x=0.0, y=y.end, width=WIDTH, height=height - y.end)  # what is above it is not seen
    marker = element("circle", cx=x.place(best.epoch), cy=y.place(best.validation_nll), r=4.5, class_="model-dot")
    label = (
        f"Training and validation NLL over {last} epochs; the best validation NLL is {best.validation_nll:.4f} nats, "
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
    return any(value > _range(history)[1] for value in nlls if np.isfinite(value))


def _range(history: Sequence[EpochRecord]) -> tuple[float, float]:
    validation = np.array([record.validation_nll for record in history])
    values = np.array([*validation, *(record.training_nll for record in history)])
    values = values[np.isfinite(values)]
    low = float(values.min())
    typical = float(np.nanquantile(validation, 0.5)) - low
    return widen(low, min(float(values.max()), low + 6 * typical) if typical > 0 else float(values.max()))


def _points(history: Sequence[EpochRecord], kind: str, x: Axis, y: Axis) -> list[tuple[float, float]]:
    values = [(record.epoch, getattr(record, kind)) for record in history]
    return [(x.place(epoch), y.place(nll)) for epoch, nll in values if np.isfinite(nll)]
