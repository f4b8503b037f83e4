"""`python -m export.verify`, `maf-serving verify`: an exported version against its run, or against itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from export.contract import Contract, find_version, read_contract
from maf.run_directory import RunDirectory
from maf_serving.command import run_command, say, show
from maf_serving.flags import CommandParser
from maf_serving.quiet_tensorflow import import_quietly

DESCRIPTION = """Runs every signature of an exported version in a fresh process, through both loaders, and compares.

  %(prog)s --model models/demo --run runs/demo    its newest version, with the model of the run
  %(prog)s --model models/demo/3                  a version with itself: batches, seeds, NaN, loaders"""

_SHOWN = 5  # columns


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a version that is not what it should be, 2 for usage."""
    return run_command(lambda: _verify(arguments), left="nothing has been changed")


def _verify(arguments: Sequence[str] | None) -> str:
    options = _parser().parse_args(arguments)
    version_dir = find_version(options.model)
    contract = read_contract(version_dir)
    if options.run is not None:
        RunDirectory(options.run).read_summary()
    say("starting TensorFlow, and verifying in a fresh process")
    import_quietly()
    from export.verification.version import format_report, verify_version  # noqa: PLC0415  # TensorFlow takes seconds to import

    report = verify_version(version_dir, run=options.run, seed=options.seed)
    show(format_report(report))
    show(_remembered(contract))
    report.require_agreement()
    return f"verified: {version_dir} {_against(options.run)}"


def _remembered(contract: Contract) -> str:
    """Which ranges the version knows of training."""
    profile = contract.training.profile if contract.training else None
    if profile is None:
        why = "its run was trained before there were any" if contract.training else "its owner trained it"
        return f"training ranges: none, {why}; it cannot tell a row that is out of them"
    columns = [column.name for column in (*profile.event, *profile.condition)]
    shown = ", ".join(columns[:_SHOWN]) + (", ..." if len(columns) > _SHOWN else "")
    return f"training ranges: of {len(columns)} columns ({shown}), {profile.event[0].rows:,} rows"


def _against(run: Path | None) -> str:
    return "is consistent with itself" if run is None else f"computes what {run} computes"


def _parser() -> CommandParser:
    parser = CommandParser("export.verify", DESCRIPTION)
    add = parser.add_argument
    add("--model", required=True, metavar="DIR", help="a version, or a directory of versions for its newest")
    add("--run", type=Path, metavar="DIR", help="run directory that the version came from")
    add("--seed", type=int, default=0, metavar="N", help="of the rows to compare; by default 0")
    parser.add_old_names({"--version_dir": "--model"})
    return parser


if __name__ == "__main__":
    sys.exit(main())
