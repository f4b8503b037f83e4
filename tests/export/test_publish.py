"""Publication without TensorFlow: a version is some files, written slowly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from export import ExportWarning, PublishError
from export import publish as publish_module
from export.publish import check_base, publish, staging_directory

FILES = 30
WRITER = f"""
import sys, time
from pathlib import Path
from export.publish import publish
from export.publish import staging_directory
base = Path(sys.argv[1])
print("start", flush=True)
while True:
    with staging_directory(base) as staged:
        for i in range({FILES}):
            (staged / f"file{{i}}").write_text("x" * 1000)
            time.sleep(0.0005)
        publish(staged, base)
"""


def write_version(staged: Path) -> None:
    (staged / "saved_model.pb").write_text("model")
    (staged / "variables").mkdir()
    (staged / "variables" / "variables.index").write_text("index")


def publish_one(base: Path, version: int | None = None) -> Path:
    with staging_directory(base) as staged:
        write_version(staged)
        return publish(staged, base, version)


def visible(base: Path) -> list[str]:
    return sorted(entry.name for entry in base.iterdir() if not entry.name.startswith("."))


def staging(base: Path) -> list[Path]:
    return list(base.glob(".staging-*"))


def test_versions_count_up(tmp_path):
    assert [publish_one(tmp_path).name for _ in range(3)] == ["1", "2", "3"]
    assert (tmp_path / "3" / "variables" / "variables.index").read_text() == "index"
    assert publish_one(tmp_path, 20).name == "20"
    assert publish_one(tmp_path).name == "21"
    assert publish_one(tmp_path, 5).name == "5"
    assert not staging(tmp_path)


def test_the_version_is_readable_by_others(tmp_path):
    """A server runs as another user; temporary directories are private."""
    previous = os.umask(0o022)
    try:
        assert publish_one(tmp_path).stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(previous)


@pytest.mark.parametrize("name", ["7", "007"])
def test_an_existing_version_is_never_replaced(tmp_path, name):
    (tmp_path / name).mkdir()  # empty: a bare rename would replace it
    with pytest.raises(PublishError, match=r"version 7 exists in .* and is never overwritten; .* to get 8"):
        publish_one(tmp_path, 7)
    with pytest.raises(PublishError, match="version 7 exists"):
        check_base(tmp_path, 7)
    assert publish_one(tmp_path).name == "8"
    assert visible(tmp_path) == sorted([name, "8"])


def test_a_file_with_a_number_for_a_name_counts(tmp_path):
    (tmp_path / "3").write_text("not a version")
    assert publish_one(tmp_path).name == "4"


def test_refused_bases(tmp_path):
    with pytest.raises(PublishError, match="version is -1"):
        check_base(tmp_path, -1)
    (tmp_path / "file").touch()
    with pytest.raises(PublishError, match="cannot be created: "):
        check_base(tmp_path / "file" / "models")
    assert check_base(tmp_path / "new" / "models") == tmp_path / "new" / "models"


def test_a_failed_export_leaves_nothing(tmp_path):
    def fail(error: type[BaseException]) -> None:
        with staging_directory(tmp_path) as staged:
            write_version(staged)
            raise error

    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(error)
    assert not visible(tmp_path)
    assert not staging(tmp_path)


def test_concurrent_exporters_get_versions_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        names = [path.name for path in pool.map(lambda _: publish_one(tmp_path), range(24))]
    assert sorted(map(int, names)) == list(range(1, 25))
    assert not staging(tmp_path)


def test_another_exporters_staging_is_left_alone(tmp_path):
    with staging_directory(tmp_path) as staged:
        write_version(staged)
        assert publish_one(tmp_path).name == "1"
        assert (staged / "saved_model.pb").exists()
        assert publish(staged, tmp_path).name == "2"


def start_writer(base: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(base)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_killed_at_any_moment_no_half_version_is_ever_seen(tmp_path):
    """Two writers are killed again and again while a poller counts the files of every version it sees."""
    halves: list[str] = []
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            versions = [entry for entry in tmp_path.iterdir() if entry.name.isdigit()]
            halves.extend(entry.name for entry in versions if len(list(entry.iterdir())) != FILES)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        pause = np.random.default_rng(0)
        rounds = 0
        while rounds < 6 or len(visible(tmp_path)) <= 3:
            rounds += 1
            assert rounds < 100, "hardly a version was published between kills"
            writers = [start_writer(tmp_path) for _ in range(2)]
            time.sleep(pause.uniform(0.02, 0.12))
            for writer in writers:
                writer.kill()
                assert writer.wait() == -signal.SIGKILL
                writer.stdout.close()
    finally:
        done.set()
        poller.join()
    assert not halves
    publish_one(tmp_path)
    assert not staging(tmp_path), "the next export removes what killed ones left"


def test_a_version_whose_entry_is_not_flushed_is_there_and_told_of(tmp_path, monkeypatch):
    real = publish_module._sync

    def fail_for_the_base(path: Path) -> None:
        if path == tmp_path:
            raise OSError(5, "Input/output error")
        real(path)

    monkeypatch.setattr(publish_module, "_sync", fail_for_the_base)
    with pytest.warns(ExportWarning, match=r"version 1 is published in .*, but a crash of the machine may lose it"):
        assert publish_one(tmp_path).name == "1"
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "model"
