"""`python -m maf`: train a flow on a table."""

from __future__ import annotations

import sys

from maf.arguments import check_resumable, parse_arguments
from maf.errors import MafError, TrainingError
from maf.quiet_tensorflow import import_quietly
from maf.standard_output import show


def main() -> int:
    """Parses, trains, prints; 2 for what the user can mend, 1 for a fit that failed or was interrupted."""
    try:
        arguments = parse_arguments()
        check_resumable(arguments)
        import_quietly()
        from maf.train import train  # noqa: PLC0415  # TensorFlow takes seconds to import, --help must not

        report = train(arguments)
    except MafError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, TrainingError) else 2
    except OSError as error:  # a full disk, say
        print(f"error: {error}; if the run has begun, continue with --resume", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; continue with --resume", file=sys.stderr)
        return 1
    return show(report)


if __name__ == "__main__":
    sys.exit(main())
