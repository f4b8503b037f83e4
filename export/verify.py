"""`python -m export.verify`: check an exported version against the run it came from, or for consistency alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from export.contract import ContractError, find_version, read_contract
from export.errors import ExportError, OptionError
from maf.errors import MafError
from maf.quiet_tensorflow import import_quietly
from maf.run_directory import RunDirectory
from maf.standard_output import show

DESCRIPTION = """Runs every signature of an exported version in a fresh process, through both loaders, and compares.

  python -m export.verify --version_dir models/demo/3 --run runs/demo    with the model of the run
  python -m export.verify --version_dir models/demo/3                    with itself: batches, seeds, NaN, loaders"""


def main() -> int:
    """Parses, verifies, prints; 2 for what is wrong with the command, 1 for a version that is not what it should be."""
    options = _parser().parse_args()
    status = 2
    try:
        version_dir = find_version(options.version_dir)
        read_contract(version_dir)
        if options.run is not None:
            RunDirectory(options.run).read_summary()
        status = 1
        import_quietly()
        from export.report_table import format_report  # noqa: PLC0415  # TensorFlow takes seconds to import
        from export.verify_version import verify_version  # noqa: PLC0415

        report = verify_version(version_dir, run=options.run, seed=options.seed)
        show(format_report(report))
        report.require_agreement()
    except OptionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except (ContractError, ExportError, MafError) as error:
        sys.stderr.write(f"error: {error}\n")
        return status
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 1
    return show(f"verified: {version_dir} {_against(options.run)}")


def _against(run: Path | None) -> str:
    return "is consistent with itself" if run is None else f"computes what {run} computes"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.verify",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version_dir", required=True, metavar="DIRECTORY", help="a version, or a base directory for its newest"
    )
    parser.add_argument("--run", type=Path, metavar="DIRECTORY", help="run directory that the version came from")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the rows to compare; by default 0")
    return parser


if __name__ == "__main__":
    sys.exit(main())
