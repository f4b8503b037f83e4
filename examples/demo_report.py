"""`python -m examples.demo_report`: what the demo's model learnt: numbers, a page, a picture beside the truth."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow.parquet as pq

from examples.demo_density import entropy, log_prob
from export.contract import find_version
from maf.report.options import ReportOptions
from maf_serving.quiet_tensorflow import import_quietly

mpl.use("Agg")
Array = np.ndarray[Any, Any]
CONDITIONS = (-0.9, -0.3, 0.3, 0.9)
TOLERANCE = 0.05  # nats


def main() -> int:
    """Prints the report; 1 if the model is further from the truth than it should be."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo_report", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/demo"), help="exported model")
    parser.add_argument(
        "--held_out", type=Path, default=Path("data/demo/held_out.parquet"), help="rows that were scored"
    )
    parser.add_argument("--scores", type=Path, default=Path("out/demo/scores"), help="output of the scoring job")
    parser.add_argument("--picture", type=Path, default=Path("out/demo/density.png"), help="picture to write")
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="run of the model")
    parser.add_argument("--report", type=Path, default=Path("out/demo/report.html"), help="page to write")
    arguments = parser.parse_args()

    scored = sorted(arguments.scores.glob("scored-*.parquet"))
    nll = -np.concatenate([pq.read_table(file, columns=["log_prob"])["log_prob"].to_numpy() for file in scored])
    columns = pq.read_table(arguments.held_out, columns=["x0", "x1", "c0"]).columns
    rows = np.stack([column.to_numpy() for column in columns], axis=1)
    true_nll = -log_prob(rows[:, :2], rows[:, 2:])
    summary = json.loads((arguments.scores / "_summary.json").read_text(encoding="utf-8"))
    version = find_version(arguments.model)
    draw_densities(load_log_prob(version), arguments.picture)
    write_page(arguments.run, arguments.held_out, arguments.report)
    gap = nll.mean() - entropy()
    print(
        f"test NLL        {nll.mean():.4f} ± {standard_error(nll):.4f} nats, scored by Beam\n"
        f"exact entropy   {entropy():.4f} nats; the exact density has {true_nll.mean():.4f} on the same rows\n"
        f"rows            {summary['rows_read']:,} read = {summary['rows_scored']:,} scored "
        f"+ {summary['rows_rejected']:,} rejected\n"
        f"exported model  {version}\n"
        f"scores          {arguments.scores}\n"
        f"picture         {arguments.picture}   p(x | c): model above, truth below\n"
        f"report          {arguments.report}"
    )
    if abs(gap) > TOLERANCE:
        print(f"error: the NLL is {gap:+.4f} nats from the entropy; expected at most {TOLERANCE}", file=sys.stderr)
        return 1
    return 0


def write_page(run: Path, held_out: Path, page: Path) -> None:
    """Writes the run's report, on the rows that were scored."""
    import_quietly()
    from maf.report.make_report import write_report  # noqa: PLC0415  # after the quiet import

    options = ReportOptions(run=run, test=(str(held_out),), output=page, exact_entropy=entropy())
    write_report(options, announce=lambda _: None)


def standard_error(values: Array) -> float:
    """Of the mean of `values` `[N]`."""
    return float(values.std() / np.sqrt(len(values)))


def load_log_prob(version: Path) -> Callable[[Array, Array], Array]:
    """The `log_prob` signature of an exported version, from and to numpy."""
    import_quietly()
    import tensorflow as tf  # noqa: PLC0415  # after the quiet import

    signature = tf.saved_model.load(str(version)).signatures["log_prob"]

    def model(x: Array, c: Array) -> Array:
        inputs = {"x": tf.constant(x, tf.float32), "conditional_input": tf.constant(c, tf.float32)}
        result: Array = signature(**inputs)["log_prob"].numpy()
        return result

    return model


def draw_densities(model: Callable[[Array, Array], Array], picture: Path, points: int = 240) -> None:
    """Draws p(x | c) of the model above that of the truth, for each of `CONDITIONS`."""
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the backend is chosen

    x0, x1 = np.linspace(3, 37, points), np.linspace(-4.7, -0.7, points)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(x0, x1)], axis=1)
    figure, axes = plt.subplots(2, len(CONDITIONS), figsize=(11, 5.6), sharex=True, sharey=True, layout="constrained")
    for column, condition in enumerate(CONDITIONS):
        c = np.full((len(grid), 1), condition)
        for row, (name, density) in enumerate((("model", model), ("truth", log_prob))):
            image = np.exp(density(grid, c)).reshape(points, points)
            axis = axes[row, column]
            axis.imshow(image, origin="lower", extent=(x0[0], x0[-1], x1[0], x1[-1]), aspect="auto", cmap="magma")
            axis.set_title(f"{name}, c0 = {condition:g}", fontsize=10)
        axes[1, column].set_xlabel("x0")
    for axis in axes[:, 0]:
        axis.set_ylabel("x1")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
