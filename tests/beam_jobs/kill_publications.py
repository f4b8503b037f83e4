"""`python kill_publications.py ROOT remote|exchange|rename first|again`: publishes, killed at each change of a file.

Each attempt is a process of its own, which an audit hook kills with SIGKILL right before its n-th change of the file
system, for n = 1, 2, ... until one lives. Prints a JSON line for each: what a reader saw after the kill and after the
runs that followed it.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import UsageError
from beam_jobs.output import staging
from beam_jobs.output.staging import stage_output
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import ShardWriter
from tests.beam_jobs.kept_file_system import KeptFileSystem  # noqa: F401  # registers itself

SCHEMA = pa.schema([("value", pa.int64())])
PARQUET = TableFormat(name="parquet", compression="snappy", rows_per_file=None)
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
ROWS = 3


def publish(output: str, value: int, existing: str) -> None:
    staged = stage_output(output, existing=existing)
    writers = [ShardWriter(staged.directory, "scored", SCHEMA, PARQUET) for _ in range(2)]
    for writer in writers:
        writer.write(pa.record_batch({"value": [value] * ROWS}))
        writer.close()
    names = staged.name_shards([writer.path for writer in writers], "scored", SCHEMA, PARQUET)
    staged.publish(json.dumps({"output_files": names, "value": value}))


def run(output: str, value: int, existing: str, kill_at: int | None = None) -> str:
    """What became of a process that publishes: `done`, `refused`, `killed`."""
    process = os.fork()
    if process:
        _, status = os.waitpid(process, 0)
        return "killed" if os.WIFSIGNALED(status) else {0: "done", 3: "refused"}[os.WEXITSTATUS(status)]
    changes = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal changes
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or writes:
            changes += 1
            if changes == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    try:
        publish(output, value, existing)
    except UsageError:
        os._exit(3)
    except BaseException as error:  # noqa: BLE001  # told to the test
        sys.stderr.write(f"{error!r}\n")
        sys.stderr.flush()
        os._exit(4)
    os._exit(0)


def seen(root: Path) -> int | None:
    """The one value that a reader of the output finds, or `None` if there is no output."""
    if not (root / "out" / "_summary.json").is_file():
        assert not list(root.glob("out/scored-*")) or mode == "remote"
        return None
    summary = json.loads((root / "out" / "_summary.json").read_text())
    values = [value for name in summary["output_files"] for value in pq.read_table(root / "out" / name)[0].to_pylist()]
    assert values == [summary["value"]] * 2 * ROWS
    return summary["value"]


def strays(root: Path) -> list[str]:
    """Files that belong to no output; an upload that was never completed is no file of a store."""
    listed = {"_summary.json", *json.loads((root / "out" / "_summary.json").read_text())["output_files"]}
    inside = {path.name for path in (root / "out").iterdir() if not path.name.startswith(".")} - listed
    files = {path for path in glob.glob(f"{root}/*/*") if not path.startswith(f"{root}/out/")}
    return sorted(inside | files)


def main(root: Path, again: str) -> None:
    kill_at, outcome = 0, "killed"
    output = f"kept://{root}/out" if mode == "remote" else str(root / "out")
    while outcome == "killed":
        kill_at += 1
        root.mkdir()
        if again == "again":
            assert run(output, 1, "refuse") == "done"
        outcome = run(output, 2, "replace", kill_at)
        result = {"outcome": outcome, "after_kill": seen(root)}
        result["next"] = run(output, 3, "refuse")
        result["after_next"] = seen(root)
        assert run(output, 4, "replace") == "done"
        result["after_rerun"] = seen(root)
        result["strays"] = strays(root)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        shutil.rmtree(root)


if __name__ == "__main__":
    mode = sys.argv[2]
    if mode == "rename":  # as on a file system that cannot exchange names
        staging.exchange = lambda first, second: False
    main(Path(sys.argv[1]) / "store", sys.argv[3])
