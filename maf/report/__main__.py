"""`python -m maf.report`, `maf-serving report`: what a run's model has learnt, as one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from maf.report.options import parse_options
from maf.run_directory import RunDirectory
from maf_serving.command import run_command, say
from maf_serving.quiet_tensorflow import import_with_probability


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 if the page cannot be written, 2 for usage."""
    return run_command(lambda: _report(arguments), left="no report is written")


def _report(arguments: Sequence[str] | None) -> str:
    options = parse_options(arguments)
    RunDirectory(options.run).read_summary()
    import_with_probability()
    from maf.report.make_report import write_report  # noqa: PLC0415  # TensorFlow takes seconds, --help must not

    return write_report(options, announce=say)


if __name__ == "__main__":
    sys.exit(main())
