"""The command `python -m serving_config.rollout`, `maf-serving rollout`: version labels of a running server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from maf_serving.command import run_command, show, unwinding
from serving_config.labels.options import parse_rollout

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a rollout that failed, 2 for usage."""
    return run_command(lambda: _roll_out(arguments))


def _roll_out(arguments: Sequence[str] | None) -> str:
    options = parse_rollout(sys.argv[1:] if arguments is None else arguments)
    with unwinding("the configuration is whole, and no label is on a version that is not loaded"):
        # protobuf, gRPC and the rest are loaded after the flags are read: --help is instant.
        from serving_config.labels.rollout import Rollout  # noqa: PLC0415

        move = Rollout(options, say=show).run()
    done = "nothing has been changed (--dry_run)" if options.run == "dry" else "the server answers for it"
    return f"label {move.label}: version {move.version}; {done}"


if __name__ == "__main__":
    sys.exit(main())
