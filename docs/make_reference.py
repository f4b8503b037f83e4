"""Writes the API reference, a page of HTML for each package, from the docstrings of its public names.

python docs/make_reference.py --output out/reference     # or: make docs
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from pathlib import Path

import numpy.typing as npt
import pdoc
import pdoc.render

PACKAGES = ("maf_serving", "maf", "export", "beam_jobs", "serving_config", "serving_config.client")


class ArrayLike:
    """Stands for NumPy's, which is a union of a dozen types of NumPy's own: a signature of it cannot be read."""

    __module__ = "numpy.typing"


def make_reference(output: Path) -> None:
    """Writes `index.html` and the pages; a public name that does not resolve is an error, not a hole in a page."""
    npt.ArrayLike = ArrayLike  # type: ignore[misc]
    for name in PACKAGES:
        package = importlib.import_module(name)
        for public in package.__all__:  # resolved when it is first used; pdoc looks at what is there
            setattr(package, public, getattr(package, public))
    pdoc.render.configure(docformat="google", show_source=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="pdoc")
        # the hint of an inherited field names what its own module imports; pdoc shows it as it is written
        warnings.filterwarnings("ignore", "Error parsing type annotation", module="pdoc")
        pdoc.pdoc(*PACKAGES, output_directory=output)


def main() -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(description="Writes the API reference from the docstrings.")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory to write to")
    output = parser.parse_args().output
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    make_reference(output)
    sys.stdout.write(f"reference  {output}/index.html\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
