"""Which directories of a store belong to jobs that live, and which are left over."""

from __future__ import annotations

import json
import os
import time

import pyarrow as pa
import pytest
from apache_beam.internal import pickler

from beam_jobs import JobError, UsageError
from beam_jobs.output import lease
from beam_jobs.output.staging import stage_output
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import ShardWriter
from maf_serving.rejection import REJECTED_SCHEMA
from tests.beam_jobs import kept_file_system
from tests.waiting import until

PARQUET = TableFormat(name="parquet", compression="snappy", rows_per_file=None)


@pytest.fixture
def output(tmp_path):
    return f"kept://{tmp_path}/out"


def directories(tmp_path):
    return {path.parent.name for path in tmp_path.glob("*/*") if path.is_file()}


def leave_behind(tmp_path, name, *, place, minutes):
    path = tmp_path / name / "lease.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"place": place, "process": os.getpid()}))
    written = time.time() - 60 * minutes
    os.utime(path, (written, written))


def test_a_living_job_is_left_alone_and_a_silent_one_is_not(output, tmp_path):
    leave_behind(tmp_path, "out.staging-11111111", place="another machine", minutes=1)
    leave_behind(tmp_path, "out.staging-22222222", place="another machine", minutes=20)
    leave_behind(tmp_path, "out.staging-of-my-own", place="another machine", minutes=20)
    (tmp_path / "out.staging-33333333").mkdir()
    (tmp_path / "out.staging-33333333" / "scored-1.parquet").write_bytes(b"of a worker that came late")
    os.utime(tmp_path / "out.staging-33333333" / "scored-1.parquet", (0, 0))
    running = stage_output(output, existing="refuse")
    second = stage_output(output, existing="refuse")
    mine = {staged.directory.rpartition("/")[2] for staged in (running, second)}
    kept = {"out.staging-11111111", "out.staging-of-my-own"}
    assert directories(tmp_path) == {*kept, *mine}
    running.discard()
    second.discard()
    assert directories(tmp_path) == kept


def test_a_lease_is_renewed_until_it_is_released(output, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEWED_AFTER", 0.02)
    staged = stage_output(output, existing="refuse")
    (path,) = tmp_path.glob("*/lease.json")
    os.utime(path, (0, 0))
    until(lambda: path.stat().st_mtime != 0)
    staged.discard()
    time.sleep(0.1)
    assert directories(tmp_path) == set()


def test_a_lease_of_the_workers_is_renewed_by_them_and_nobody_else_is_taken_for_gone(output, tmp_path):
    staged = stage_output(output, existing="refuse")
    (path,) = tmp_path.glob("*/lease.json")

    def is_renewed():
        os.utime(path, (0, 0))
        lease._next_renewal.clear()
        lease.renew_lease(staged.directory)
        return path.stat().st_mtime > 0

    assert not is_renewed()  # it belongs to the launcher
    staged.hand_over()
    assert is_renewed()
    worker = pickler.loads(pickler.dumps(staged))
    with worker.held():
        stage_output(output, existing="refuse").discard()  # the next job leaves it alone
    assert path.exists()
    staged.discard()
    lease._next_renewal.clear()
    lease.renew_lease(staged.directory)
    assert not path.exists()
    with pytest.raises(JobError, match="was cancelled, or taken for left over"), worker.held():
        pass


def test_a_job_that_waits_in_the_queue_of_its_runner_is_left_alone(output, tmp_path, monkeypatch):
    staged = stage_output(output, existing="refuse")
    staged.hand_over()
    staged._lease.release()  # as when the launcher is killed
    (path,) = tmp_path.glob("*/lease.json")

    def is_left_alone(minutes):
        written = time.time() - 60 * minutes
        os.utime(path, (written, written))
        stage_output(output, existing="refuse").discard()
        return path.exists()

    assert is_left_alone(minutes=16)
    assert is_left_alone(minutes=23 * 60)
    lease._next_renewal.clear()
    lease.renew_lease(staged.directory)  # it has begun
    assert is_left_alone(minutes=14)
    assert not is_left_alone(minutes=16)
    forgotten = stage_output(output, existing="refuse")
    forgotten.hand_over()
    forgotten._lease.release()
    (path,) = tmp_path.glob("*/lease.json")
    assert not is_left_alone(minutes=25 * 60)


def test_a_launcher_that_waits_neither_hides_that_its_job_began_nor_brings_a_lease_back(output, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEWED_AFTER", 0.02)
    staged = stage_output(output, existing="refuse")
    staged.hand_over()
    (path,) = tmp_path.glob("*/lease.json")
    lease._next_renewal.clear()
    lease.renew_lease(staged.directory)
    os.utime(path, (0, 0))
    until(lambda: path.stat().st_mtime != 0)
    assert "queued" not in json.loads(path.read_bytes())
    path.unlink()
    time.sleep(0.2)
    assert not path.exists()
    staged.discard()


def test_an_output_that_appeared_meanwhile_is_not_replaced(output, tmp_path):
    staged = stage_output(output, existing="refuse")
    staged.name_shards([], "scored", REJECTED_SCHEMA, PARQUET)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_summary.json").write_text('{"output_files": []}')
    with pytest.raises(JobError, match="exists; name a directory that does not"):
        staged.publish("{}")
    staged.discard()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_summary.json"]


def test_a_file_system_with_directories_is_no_object_store(output, monkeypatch):
    monkeypatch.setattr(kept_file_system.KeptFileSystem, "has_dirs", lambda self: True)
    with pytest.raises(UsageError, match=r"^--output kept://.* is on a file system with directories; expected"):
        stage_output(output, existing="refuse")


def test_a_file_that_arrives_damaged_is_not_published(output, tmp_path, monkeypatch):
    staged = stage_output(output, existing="refuse")
    writer = ShardWriter(staged.directory, "rejected", REJECTED_SCHEMA, PARQUET)
    writer.write(pa.RecordBatch.from_pylist([{"file": "f", "row": 1, "reason": "r"}], REJECTED_SCHEMA))
    writer.close()
    staged.name_shards([writer.path], "rejected", REJECTED_SCHEMA, PARQUET)

    def cut(self, sources, targets):
        for source, target in zip(sources, targets, strict=True):
            with self.create(target) as stream:
                stream.write(kept_file_system.local(source).read_bytes()[:-1])

    monkeypatch.setattr(kept_file_system.KeptFileSystem, "copy", cut)
    with pytest.raises(JobError, match=r"rejected-.* has \d+ bytes; expected"):
        staged.publish("{}")
    staged.discard()
    assert directories(tmp_path) == set()
