"""A posterior of a flow beside the exact one as a picture, pairs of parameters. Needs matplotlib, the extra `plots`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.known_density import Array

EXACT, FLOW = "#888888", "#1b6ca8"


def plot_posterior(exact: Array, drawn: Array, path: Path) -> None:
    """Writes the picture: exact draws below the diagonal, the flow's above, and on it both.

    Args:
      exact: draws of the exact posterior `[S, D]`.
      drawn: draws of the flow `[S, D]`.
      path: `.png`, or `.svg`, which grows with the draws.
    """
    import matplotlib as mpl  # noqa: PLC0415  # an extra

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    size = exact.shape[1]
    ends = np.quantile(np.concatenate([exact, drawn]), (0.001, 0.999), axis=0)
    margin = 0.05 * (ends[1] - ends[0])
    limits = np.stack([ends[0] - margin, ends[1] + margin], axis=1)
    with mpl.rc_context({"svg.hashsalt": "benchmarks", "font.size": 8}):
        side = 1.5 + 0.9 * size
        figure, panels = plt.subplots(size, size, figsize=(side, side), layout="constrained", squeeze=False)
        for row in range(size):
            for column in range(size):
                axes = panels[row][column]
                axes.set(xlim=limits[column], yticks=())
                axes.xaxis.set_major_locator(MaxNLocator(3))
                if row == column:
                    style: dict[str, Any] = {
                        "bins": 60,
                        "range": tuple(limits[row]),
                        "histtype": "step",
                        "density": True,
                    }
                    axes.hist(exact[:, row], color=EXACT, **style)
                    axes.hist(drawn[:, row], color=FLOW, **style)
                    axes.set_title(f"parameter {row + 1}", fontsize=8)
                    continue
                points, color = (exact, EXACT) if row > column else (drawn, FLOW)
                axes.scatter(points[:, column], points[:, row], s=1, lw=0, alpha=0.4, color=color)
                axes.set(ylim=limits[row])
                axes.yaxis.set_major_locator(MaxNLocator(3))
        labels = [
            plt.Line2D([], [], color=color, label=label) for color, label in ((EXACT, "exact"), (FLOW, "the flow"))
        ]
        figure.legend(handles=labels, loc="outside lower center", ncols=2, frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=120)
        plt.close(figure)
