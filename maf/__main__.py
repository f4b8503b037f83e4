"""`python -m maf`, `maf-serving train`: train a flow on a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from maf.arguments import check_resumable, parse_training
from maf_serving.command import run_command, say
from maf_serving.quiet_tensorflow import import_with_probability


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a fit that failed, 2 for usage."""
    return run_command(lambda: _train(arguments))


def _train(arguments: Sequence[str] | None) -> str:
    options = parse_training(arguments)
    check_resumable(options)
    import_with_probability()
    from maf.train import start_or_continue  # noqa: PLC0415  # TensorFlow takes seconds to import, --help must not

    return start_or_continue(options, announce=say)


if __name__ == "__main__":
    sys.exit(main())
