"""What is left of a staging directory when the job goes away, while workers still write."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from beam_jobs import JobError, UsageError
from beam_jobs.output.staging import stage_output
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import ShardWriter
from maf_serving.rejection import REJECTED_SCHEMA

PARQUET = TableFormat(name="parquet", compression="snappy", rows_per_file=None)


def test_a_discarded_directory_stays_away_while_workers_open_files(tmp_path):
    staged = stage_output(str(tmp_path / "out"), existing="refuse")
    stop, opened = threading.Event(), threading.Event()

    def keep_opening() -> None:
        while not stop.is_set():
            try:
                ShardWriter(staged.directory, "scored", REJECTED_SCHEMA, PARQUET).abandon()
            except JobError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
                continue
            opened.set()

    workers = [threading.Thread(target=keep_opening) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert opened.wait(10)
    staged.discard()
    time.sleep(0.1)
    left = list(tmp_path.iterdir())
    stop.set()
    for worker in workers:
        worker.join()
    assert left == []


def test_what_a_killed_job_left_is_deleted_and_a_running_one_is_left_alone(tmp_path):
    output = str(tmp_path / "out[1]")
    for name in ("out[1].staging-12345678", "out1.staging-12345678", "out[1].other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scored-1.parquet").write_bytes(b"PAR1")
    running = stage_output(output, existing="refuse")
    finished = stage_output(output, existing="refuse")
    assert {entry.name for entry in tmp_path.iterdir()} == {
        "out1.staging-12345678",
        "out[1].other",
        Path(running.directory).name,
        Path(finished.directory).name,
    }
    finished.publish("{}")
    running.discard()
    assert {entry.name for entry in tmp_path.iterdir()} == {"out1.staging-12345678", "out[1].other", "out[1]"}


def test_only_an_output_that_was_being_replaced_gets_its_name_back(tmp_path):
    for name in ("out.replaced-mine", "out.replaced-0123456789", "out2.replaced-01234567"):
        (tmp_path / name).mkdir()
    stage_output(str(tmp_path / "out"), existing="refuse").discard()
    assert len(list(tmp_path.iterdir())) == 3
    (tmp_path / "out.replaced-01234567").mkdir()
    (tmp_path / "out.replaced-01234567" / "_summary.json").write_text("{}")
    with pytest.raises(UsageError, match="exists"):
        stage_output(str(tmp_path / "out"), existing="refuse")
    assert (tmp_path / "out" / "_summary.json").is_file()
    (tmp_path / "out.replaced-89abcdef").mkdir()
    stage_output(str(tmp_path / "out"), existing="replace").discard()
    assert len(list(tmp_path.iterdir())) == 4


def test_an_output_that_appeared_meanwhile_is_not_replaced(tmp_path):
    output = tmp_path / "out"
    staged = stage_output(str(output), existing="refuse")
    output.mkdir()
    with pytest.raises(JobError, match="could not be moved to its place"):
        staged.publish("{}")
    assert list(output.iterdir()) == []


def test_shards_that_no_tally_names_are_dropped(tmp_path):
    staged = stage_output(str(tmp_path / "out"), existing="refuse")
    shards = [ShardWriter(staged.directory, "rejected", REJECTED_SCHEMA, PARQUET) for _ in range(3)]
    for shard in shards:
        shard.close()
    names = staged.name_shards([shards[0].path, shards[2].path], "rejected", REJECTED_SCHEMA, PARQUET)
    assert names == ["rejected-00000-of-00002.parquet", "rejected-00001-of-00002.parquet"]
    assert sorted(entry.name for entry in Path(staged.directory).iterdir()) == names


def test_a_directory_whose_job_was_killed_before_it_had_its_name_is_deleted_after_a_minute(tmp_path):
    for name in ("out.new-00000001", "out.new-00000002"):
        (tmp_path / name).mkdir()
    os.utime(tmp_path / "out.new-00000001", (0, 0))
    stage_output(str(tmp_path / "out"), existing="refuse").discard()
    assert [path.name for path in tmp_path.iterdir()] == ["out.new-00000002"]


def test_a_summary_that_cannot_be_written_is_a_failed_job(tmp_path):
    staged = stage_output(str(tmp_path / "out"), existing="refuse")
    shutil.rmtree(staged.directory)
    with pytest.raises(JobError, match=r"the result could not be written to .*out: "):
        staged.publish("{}")
    staged.discard()
    assert list(tmp_path.iterdir()) == []
