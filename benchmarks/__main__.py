"""`python -m benchmarks`: this toolkit beside TFP, FlowJAX, zuko and the machine's own limit, in one run."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence

from benchmarks.arguments import parse_arguments
from benchmarks.page import PageError, check_page, write_results


def main(argv: Sequence[str] | None = None) -> int:
    """Runs, prints, writes; 0, 1 if a contender computed something else than it should, 2 for usage."""
    arguments = parse_arguments(argv)
    try:
        if arguments.page:
            check_page(arguments.page)  # before twenty minutes are spent
    except PageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from maf_serving.quiet_tensorflow import import_with_probability  # noqa: PLC0415

    import_with_probability()
    logging.basicConfig(level=logging.ERROR)  # Beam warns of what is not there on a laptop
    from benchmarks.run import run  # noqa: PLC0415  # --help must not wait for TensorFlow
    from benchmarks.tables import markdown  # noqa: PLC0415

    started = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {text}", file=sys.stderr, flush=True)

    report = run(
        arguments.suite,
        parts=arguments.parts,
        contenders=arguments.contenders,
        interpreters=arguments.peers_python,
        threads=arguments.threads,
        progress=progress,
    )
    results = markdown(report)
    print(results)
    if arguments.json:
        arguments.json.write_text(report.to_json(), encoding="utf-8")
    if arguments.plot:
        from benchmarks.plot import plot  # noqa: PLC0415  # matplotlib is an extra

        plot(report, arguments.plot)
    if arguments.page:
        write_results(arguments.page, f"{results}\n{_beside(arguments)}")
    progress("done")
    return 1 if report.implausible else 0


def _beside(arguments: argparse.Namespace) -> str:
    """Links from the page to the other files."""
    folder = arguments.page.resolve().parent
    picture, values = (
        os.path.relpath(path.resolve(), folder) if path else "" for path in (arguments.plot, arguments.json)
    )
    shown = f"![time of one call by batch and by D]({picture})\n\n" if picture else ""
    return shown + (f"All values: [{values}]({values}).\n" if values else "")


if __name__ == "__main__":
    sys.exit(main())
