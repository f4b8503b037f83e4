"""Inputs that are written, replaced or deleted while a job reads them: it fails, says which, and publishes nothing."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from beam_jobs import JobError, UsageError
from beam_jobs.errors import ChangedInputError
from beam_jobs.jobs import running
from beam_jobs.options.job_options import Files
from beam_jobs.sources.csv_source import CsvSource
from beam_jobs.sources.input_files import find_sources
from beam_jobs.sources.parquet_source import RowGroups
from beam_jobs.sources.source import FileState, check_unchanged, look_up
from tests.beam_jobs.kept_file_system import KeptFileSystem
from tests.beam_jobs.write_table import write_table

ROWS = 2_000


@pytest.fixture
def columns(make_columns):
    return {name: values.tolist() for name, values in make_columns(ROWS, 3).items()}


@pytest.fixture
def while_reading(monkeypatch):
    """Has something done when a source is about to read, or after its first batch."""

    def arrange(source, moment, change) -> None:
        read, changes = source.read, iter([change])

        def read_and_change(*arguments):
            if moment == "before":
                next(changes, lambda: None)()
            for part in read(*arguments):
                yield part
                next(changes, lambda: None)()

        monkeypatch.setattr(source, "read", read_and_change)

    return arrange


def append(path) -> None:
    with path.open("a") as stream:
        stream.write("1,1,1\n")


def touch(path) -> None:
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))


def rewrite(path) -> None:
    write_table(path, dict.fromkeys(("x0", "x1", "c0"), [0.5] * 3_000), row_group_size=200)


CHANGES = {
    "csv, appended to": (CsvSource, "a.csv", "during", append),
    "csv, truncated": (CsvSource, "a.csv", "before", lambda path: os.truncate(path, 40_000)),
    "csv, of the same size": (CsvSource, "a.csv", "during", touch),
    "csv, deleted": (CsvSource, "a.csv", "before", Path.unlink),
    "parquet, with more rows": (RowGroups, "a.parquet", "during", rewrite),
}


@pytest.mark.parametrize("on_bad_file", ["fail", "reject"])
@pytest.mark.parametrize(("source", "name", "moment", "change"), CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_while_it_is_read_fails_the_job(
    source, name, moment, change, on_bad_file, score, columns, tmp_path, while_reading
):
    path = tmp_path / name
    write_table(path, columns, row_group_size=200)
    before = FileState(size=path.stat().st_size, modified=path.stat().st_mtime_ns)
    while_reading(source, moment, lambda: change(path))
    with pytest.raises(ChangedInputError) as failure:
        score(str(path), batch_size=100, on_bad_file=on_bad_file)
    now = f"{path.stat().st_size:,} bytes of " if path.exists() else "it cannot be found; "
    message = str(failure.value)
    assert message.startswith(f"{path} changed while it was read: had {before}, now {now}")
    assert message.endswith("; run the job again")
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == ([path] if path.exists() else [])


def test_a_failure_of_something_else_is_said_as_it_is(score, columns, tmp_path, while_reading):
    path = write_table(tmp_path / "a.csv", columns)

    def fail() -> None:
        raise JobError("the network is down")

    while_reading(CsvSource, "during", fail)
    with pytest.raises(JobError, match="the network is down") as failure:
        score(path)
    assert not isinstance(failure.value, ChangedInputError)


def test_files_in_a_store_are_compared_with_one_listing_for_each_pattern(tmp_path, monkeypatch):
    paths = [tmp_path / f"{name}.csv" for name in "abc"]
    for path in paths:
        path.write_text("x0\n1\n")
    files = find_sources([Files(f"kept://{tmp_path}/*.csv")])
    planned = look_up(files)
    assert set(planned) == {f"kept://{path}" for path in paths}
    (tmp_path / "later.csv").write_text("x0\n1\n")
    check_unchanged(files, planned)
    append(paths[1])
    paths[2].unlink()
    with pytest.raises(ChangedInputError) as failure:
        check_unchanged(files, planned)
    message = str(failure.value)
    assert message.startswith(f"kept://{paths[1]} changed while it was read: had 5 bytes of 20")
    assert message.endswith("; so did 1 more; run the job again")

    def refuse(*_):
        raise OSError("no answer")

    monkeypatch.setattr(KeptFileSystem, "_list", refuse)
    with pytest.raises(JobError, match=r"\*\.csv cannot be looked up: .*no answer; whether one changed") as failure:
        check_unchanged(files, planned)
    assert not isinstance(failure.value, ChangedInputError)


def test_a_state_says_its_time_as_exactly_as_it_is_known():
    assert str(FileState(size=1_234, modified=None)) == "1,234 bytes"
    assert str(FileState(size=0, modified=10**18)) == "0 bytes of 2001-09-09T01:46:40Z"
    assert str(FileState(size=0, modified=10**18 + 50)) == "0 bytes of 2001-09-09T01:46:40.00000005Z"


def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path):
    fifo, listening = tmp_path / "a.csv", tmp_path / "b.csv"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listening))
        for pattern in (str(fifo), str(listening), "/dev/null", f"{tmp_path}/*.csv"):
            with pytest.raises(UsageError, match=r"is a pipe, a socket or a device; expected a regular file"):
                find_sources([Files(pattern)])


def test_a_clock_that_is_set_back_gives_no_negative_time(score, columns, tmp_path, monkeypatch):
    path = write_table(tmp_path / "a.csv", columns)
    monkeypatch.setattr(running, "time", SimpleNamespace(time=lambda: 0.0))
    summary = score(path).summary
    assert summary.seconds == 0
    assert "in 0.0 s (0 rows/s" in summary.to_text("out")


def test_a_worker_that_cannot_write_says_where(score, make_columns, tmp_path):
    path = write_table(tmp_path / "a.csv", {name: values.tolist() for name, values in make_columns(30_000, 4).items()})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(JobError) as failure:
            score(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(failure.value)
    assert message.startswith(f"the job failed: {tmp_path}/")
    assert message.endswith(".parquet cannot be written: File too large")


def test_a_manifest_finds_a_changed_digit_that_size_and_time_do_not(score, columns, tmp_path, while_reading):
    path = Path(write_table(tmp_path / "a.csv", columns))
    manifest = tmp_path / "m"
    manifest.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  a.csv\n")
    assert score(str(path), manifest=str(manifest)).summary.rows_read == ROWS
    shutil.rmtree(tmp_path / "scores")

    def change() -> None:
        before = path.stat().st_mtime_ns
        path.write_bytes(path.read_bytes().translate(bytes.maketrans(b"12", b"21")))
        os.utime(path, ns=(before, before))

    while_reading(CsvSource, "during", change)
    with pytest.raises(ChangedInputError, match=r"a\.csv has sha256 .*, and --manifest .* says"):
        score(str(path), batch_size=100, manifest=str(manifest))
    with pytest.raises(UsageError, match=r"a\.csv has sha256 .*, and --manifest .* says"):
        score(str(path), manifest=str(manifest))
