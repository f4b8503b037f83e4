"""`python -m serving_config`, `maf-serving config`: the configuration of TensorFlow Serving for exported models."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from maf_serving.command import run_command, unwinding
from serving_config.options import parse_config


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a check that found differences, 2 for usage."""
    return run_command(lambda: _generate(arguments))


def _generate(arguments: Sequence[str] | None) -> str:
    options = parse_config(sys.argv[1:] if arguments is None else arguments)
    with unwinding("each file is whole, old or new"):
        # protobuf and PyYAML are loaded after the flags are read: --help is instant.
        from serving_config.generate import generate  # noqa: PLC0415

        return generate(options)


if __name__ == "__main__":
    sys.exit(main())
