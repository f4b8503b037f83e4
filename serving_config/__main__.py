"""`python -m serving_config`: the configuration of TensorFlow Serving for exported models."""

from __future__ import annotations

import sys

from maf_serving.errors import MafServingError
from serving_config.interruption import interrupted, unwind_when_interrupted
from serving_config.options import parse_config
from serving_config.standard_output import show


def main() -> int:
    """Parses, writes, prints; 2 for what is wrong with the command, 1 for a check that found differences."""
    try:
        options = parse_config(sys.argv[1:])
        with unwind_when_interrupted():
            # protobuf and PyYAML are loaded after the flags are read: --help is instant.
            from serving_config.generate import generate  # noqa: PLC0415

            result = generate(options)
    except MafServingError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt as interrupt:
        return interrupted(interrupt, "each file is whole, old or new")
    return show(result)


if __name__ == "__main__":
    sys.exit(main())
