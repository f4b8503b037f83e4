"""`python -m serving_config.client`: rows of a table through a served model."""

from __future__ import annotations

import os
import sys

from maf_serving.errors import MafServingError
from serving_config.client.options import parse_call
from serving_config.interruption import interrupted
from serving_config.standard_output import show


def main() -> int:
    """Parses, calls, prints; 2 for what is wrong with the command, 1 for a call that failed."""
    try:
        options = parse_call(sys.argv[1:])
        # Arrow, numpy and the transport are loaded after the flags are read: --help is instant.
        if options.operation == "status":
            from serving_config.client.status_table import format_status  # noqa: PLC0415

            return show(format_status(options))
        from serving_config.client.table_call import call_table  # noqa: PLC0415

        rows = call_table(options)
        if options.output_path is not None:
            return show(f"{options.operation}: {rows:,} rows of {options.input_path} -> {options.output_path}")
        sys.stdout.flush()
    except MafServingError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt as interrupt:
        return interrupted(interrupt, "nothing was written")
    except BrokenPipeError:  # the reader of our output has gone; so must what is left in the buffer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
