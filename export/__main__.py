"""`python -m export`: export a trained run for TF Serving."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from export.contract import ContractError
from export.errors import ExportError
from export.publish import check_base
from maf.errors import MafError
from maf.quiet_tensorflow import import_quietly
from maf.run_directory import RunDirectory

DESCRIPTION = """Exports a trained run as a SavedModel for TensorFlow Serving, as the next version in a directory.

  python -m export --run runs/demo --model_base models/demo"""


def main() -> int:
    """Parses, exports, prints; 2 for what is wrong with the command, 1 for an export that failed."""
    options = _parser().parse_args()
    status = 2
    try:
        RunDirectory(options.run).read_summary()
        check_base(options.model_base, options.version)
        status = 1
        import_quietly()
        from export.export_run import export_run  # noqa: PLC0415  # TensorFlow takes seconds to import, --help must not
        from export.report_table import format_report  # noqa: PLC0415

        exported = export_run(options.run, options.model_base, version=options.version)
    except (ContractError, ExportError, MafError) as error:
        print(f"error: {error}", file=sys.stderr)
        return status
    except KeyboardInterrupt:
        print("interrupted; nothing is published", file=sys.stderr)
        return 1
    print(format_report(exported.report))
    print(f"version: {exported.version_dir}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIRECTORY", help="run directory of python -m maf")
    parser.add_argument("--model_base", required=True, metavar="DIRECTORY", help="where the model's versions are")
    parser.add_argument("--version", type=int, metavar="N", help="number of the version; by default the next")
    return parser


if __name__ == "__main__":
    sys.exit(main())
