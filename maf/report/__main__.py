"""`python -m maf.report`: what a run's model has learnt, as one HTML page."""

from __future__ import annotations

import sys

from maf.errors import MafError
from maf.quiet_tensorflow import import_quietly
from maf.report.options import parse_options
from maf.run_directory import RunDirectory
from maf.standard_output import show


def main() -> int:
    """Parses, writes the page, says where it is; 2 for what the user can mend, 1 if it was interrupted."""
    try:
        options = parse_options()
        RunDirectory(options.run).read_summary()
        import_quietly()
        from maf.report.write_report import write_report  # noqa: PLC0415  # TensorFlow takes seconds, --help must not

        text = write_report(options, announce=show)
    except MafError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, say
        print(f"error: {error}; no report is written", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; no report is written", file=sys.stderr)
        return 1
    return show(text)


if __name__ == "__main__":
    sys.exit(main())
