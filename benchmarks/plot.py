"""A report as a picture: time by batch and by D, one line for each contender. Needs matplotlib, the extra `plots`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.case import BY_BATCH, BY_EVENT_SIZE, LARGE, Case
from benchmarks.measurement import find
from benchmarks.tables import OURS, PEERS

if TYPE_CHECKING:
    from benchmarks.report import Report

LINES = {OURS: ("exported (this toolkit)", "#1b6ca8"), "tfp": ("TFP", "#d1495b"), "tfp_xla": ("TFP, XLA", "#edae49")}
LINES |= {"flowjax": ("FlowJAX", "#5f9e6e"), "zuko": ("zuko", "#8d6a9f"), "dense": ("dense products", "#999999")}


def plot(report: Report, path: Path) -> None:
    """Writes the picture in the format of its suffix.

    Args:
      report: a panel without measurements stays empty.
      path: `.svg` or `.png`.
    """
    import matplotlib as mpl  # noqa: PLC0415  # an extra

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    large = [case for case in BY_BATCH if case.event_size == LARGE["event_size"]]
    with mpl.rc_context({"svg.hashsalt": "benchmarks", "font.size": 9}):
        figure, panels = plt.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
        for row, quantity in zip(panels, ("log_prob", "sample"), strict=True):
            _draw(row[0], report, quantity, large, lambda case: case.batch)
            _draw(row[1], report, quantity, list(BY_EVENT_SIZE), lambda case: case.event_size)
            row[0].set(ylabel=f"{quantity}, ms", title="D=64, C=16, hidden 512x512", xlabel="rows")
            row[1].set(title="1,024 rows, C=8, hidden 128x128", xlabel="D")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(LINES), frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
        plt.close(figure)


def _draw(axes: Any, report: Report, quantity: str, cases: list[Case], of: Callable[[Case], int]) -> None:
    axes.set(xscale="log", yscale="log")
    axes.grid(visible=True, which="major", alpha=0.3)
    ticks = sorted({of(case) for case in cases})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    for name in (OURS, *PEERS, "dense"):
        found = [(of(case), find(report.measurements, name, f"{quantity} [s]", case)) for case in cases]
        points = [(x, 1e3 * m.median, 1e3 * m.median * m.spread) for x, m in found if m]
        if points:
            label, color = LINES[name]
            x, y, error = zip(*points, strict=True)
            style = {"ls": ":"} if name == "dense" else {"marker": "o", "ms": 3}
            axes.errorbar(x, y, error, label=label, color=color, lw=2 if name == OURS else 1.2, capsize=2, **style)
