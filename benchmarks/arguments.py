"""The command line of `python -m benchmarks`. No TensorFlow in here."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.contenders import NAMES

DESCRIPTION = """This toolkit beside TFP, FlowJAX, zuko and the machine's own limit, in one run.

  python -m benchmarks --suite quick
  python -m benchmarks --page docs/performance.md --json docs/performance.json --plot docs/performance.svg

Prints Markdown tables: log_prob and sample of the exported graph beside each peer, batch scoring beside a bare loop and
beside one dictionary for each row, and what an export and its first request cost. Who is not installed is skipped by
name; benchmarks/requirements-peers.txt lists the peers, and --peers_python takes an interpreter that has them."""

PARTS = ("contenders", "scoring", "serving")
PLOT_SUFFIXES = (".svg", ".png")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line; bad usage exits with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--suite",
        choices=("full", "quick"),
        default="full",
        help="some 20 minutes, or the core of it in a few (default %(default)s)",
    )
    add("--parts", type=_some(PARTS), default=PARTS, metavar="PART,...", help=f"of {', '.join(PARTS)} (default all)")
    add("--contenders", type=_some(NAMES), default=NAMES, metavar="NAME,...", help=f"of {', '.join(NAMES)}")
    add(
        "--peers_python",
        action="append",
        default=[],
        metavar="PATH",
        help="interpreter that has peers; repeat for more",
    )
    add("--threads", type=int, default=2, metavar="N", help="cores of each contender (default %(default)s)")
    add("--page", type=Path, metavar="FILE", help="page whose generated part is replaced")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured")
    add("--plot", type=Path, metavar="FILE", help="write a picture, .svg or .png; needs matplotlib, the extra 'plots'")
    arguments = parser.parse_args(argv)
    if arguments.threads < 1:
        parser.error(f"--threads is {arguments.threads}; expected at least 1")
    for interpreter in arguments.peers_python:
        if not os.access(interpreter, os.X_OK):
            parser.error(f"--peers_python is {interpreter}; expected an interpreter that can be run")
    for path in (arguments.page, arguments.json, arguments.plot):
        if path and not path.parent.is_dir():
            parser.error(f"{path.parent} is no directory; make it before results are written to {path}")
    if arguments.plot and arguments.plot.suffix not in PLOT_SUFFIXES:
        parser.error(f"--plot is {arguments.plot}; expected a name that ends in {' or '.join(PLOT_SUFFIXES)}")
    if arguments.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib, which is not installed; pip install 'maf-serving[plots]'")
    return arguments


def _some(names: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Names from a list, separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        given = tuple(name for name in text.split(",") if name)
        unknown = [name for name in given if name not in names]
        if unknown or not given:
            raise argparse.ArgumentTypeError(
                f"{text!r} names {unknown or 'nothing'}; expected some of {', '.join(names)}"
            )
        return given

    return parse
