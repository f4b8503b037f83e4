"""The command `python -m serving_config.rollout`: version labels of a running server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from maf_serving.errors import MafServingError
from serving_config.interruption import interrupted, unwind_when_interrupted
from serving_config.labels.options import parse_rollout
from serving_config.standard_output import show

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a rollout that failed, 2 for usage."""
    try:
        options = parse_rollout(sys.argv[1:] if arguments is None else arguments)
        with unwind_when_interrupted():
            # protobuf, gRPC and the rest are loaded after the flags are read: --help is instant.
            from serving_config.labels.rollout import Rollout  # noqa: PLC0415

            move = Rollout(options, say=show).run()
    except MafServingError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_status
    except KeyboardInterrupt as interrupt:
        return interrupted(interrupt, "the configuration is whole, and no label is on a version that is not loaded")
    done = "nothing has been changed (--dry_run)" if options.run == "dry" else "the server answers for it"
    return show(f"label {move.label}: version {move.version}; {done}")


if __name__ == "__main__":
    sys.exit(main())
