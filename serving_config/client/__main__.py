"""`python -m serving_config.client`, `maf-serving client`: rows of a table through a served model."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from maf_serving.command import run_command
from serving_config.client.options import parse_call


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a call that failed, 2 for usage."""
    return run_command(lambda: _call(arguments))


def _call(arguments: Sequence[str] | None) -> str | None:
    options = parse_call(sys.argv[1:] if arguments is None else arguments)
    # Arrow, numpy and the transport are loaded after the flags are read: --help is instant.
    if options.operation == "status":
        from serving_config.client.table_call import format_status  # noqa: PLC0415

        return format_status(options)
    from serving_config.client.table_call import call_table, say_rejected  # noqa: PLC0415

    result = call_table(options)
    say_rejected(options, result)
    if options.output_path is not None:
        answered = result.rows - result.rejected
        of = f"{answered:,} of " if result.rejected else ""
        return f"{options.operation}: {of}{result.rows:,} rows of {options.input_path} -> {options.output_path}"
    sys.stdout.flush()
    return None


if __name__ == "__main__":
    sys.exit(main())
