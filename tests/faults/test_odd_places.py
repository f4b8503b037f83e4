"""Commands started where something of the usual surroundings is missing, or is called strangely."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.conftest import ENV, NULL_ROW, ROOT, ROWS

pytestmark = pytest.mark.faults


def start(flags, *, shell_suffix="", cwd=ROOT, env=None, limit=None):
    """Runs `python -m beam_jobs.score`, by a shell, which adds redirections."""
    command = ["bash", "-c", f'"$@" {shell_suffix}', "bash", sys.executable, "-m", "beam_jobs.score", *flags]
    return subprocess.run(
        command,
        cwd=cwd,
        env=ENV if env is None else env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=limit,
    )


def assert_done(output):
    table = pq.ParquetDataset(sorted(output.glob("scored-*"))).read(["row"])
    assert sorted(table["row"].to_pylist()) == [row for row in range(ROWS) if row != NULL_ROW]


SHELLS = {
    "a reader that has gone": ("| true; exit ${PIPESTATUS[0]}", 1, ""),
    "a full disk behind stdout": (
        "> /dev/full",
        1,
        "error: standard output cannot be written: No space left on device\n",
    ),
    "stdout closed": (">&-", 0, ""),
    "stderr closed": ("2>&-", 0, ""),
    "stdin closed": ("<&-", 0, ""),
    "stderr full": ("2> /dev/full", 0, ""),
}


@pytest.mark.parametrize("name", SHELLS)
def test_the_work_is_done_whoever_listens(name, score_flags, tmp_path):
    suffix, status, told = SHELLS[name]
    done = start(score_flags(tmp_path / "scores"), shell_suffix=suffix)
    assert (done.returncode, done.stderr) == (status, told)
    assert_done(tmp_path / "scores")


SURROUNDINGS = {
    "ASCII alone": {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "no home": {"HOME": None},
    "a home that is none": {"HOME": "/proc/1/none"},
    "no temporary directory": {"TMPDIR": "/none"},
    "no user": {"USER": None, "LOGNAME": None},
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_other_surroundings(name, score_flags, tmp_path):
    env = {key: value for key, value in (ENV | SURROUNDINGS[name]).items() if value is not None}
    done = start(score_flags(tmp_path / "größe 大"), env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert_done(tmp_path / "größe 大")


def test_in_a_directory_that_is_gone(score_flags, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'cd "{gone}" && rmdir "{gone}" && exec "$@"'
    flags = score_flags(tmp_path / "scores")
    words = ["bash", "-c", command, "bash", sys.executable, "-m", "beam_jobs.score", *flags]
    done = subprocess.run(words, env=ENV, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert_done(tmp_path / "scores")


NAMES = ["a\nb", 'q"uote', "it's", "grüße 漢字", "x" * 3_000, "../up", "{}", "%s", "<b>", "\\", "\t", "=1+1"]


def test_columns_of_any_name_are_carried_through(model_base, endpoint, tmp_path):
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=5) for name in ("x0", "x1", "c0")} | {name: np.arange(5) for name in NAMES}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    flags = [f"--model={model_base}", f"--input={tmp_path / 'a.parquet'}", f"--output={tmp_path / 'out'}", *endpoint]
    done = start([*flags, "--keep=*"])
    assert (done.returncode, done.stderr) == (0, "")
    scored = pq.ParquetDataset(sorted((tmp_path / "out").glob("scored-*"))).read()
    assert {*NAMES, "x0", "x1", "c0"} <= set(scored.column_names)
    for name in NAMES:
        assert scored[name].to_pylist() == list(range(5))


def test_a_file_named_twice_is_read_once(score_flags, table, tmp_path):
    flags = [flag for flag in score_flags(tmp_path / "scores") if not flag.startswith("--input")]
    done = start([*flags, f"--input={table},{table.parent}/*.parquet"])
    assert (done.returncode, done.stderr) == (0, "")
    assert_done(tmp_path / "scores")


def test_a_symlinked_model_and_output(score_flags, model_base, tmp_path):
    (tmp_path / "model").symlink_to(model_base)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    flags = [flag for flag in score_flags(tmp_path / "link" / "scores") if not flag.startswith("--model=")]
    done = start([f"--model={tmp_path / 'model'}", *flags])
    assert (done.returncode, done.stderr) == (0, "")
    assert_done(tmp_path / "real" / "scores")


def test_files_may_not_grow(score_flags, tmp_path):
    """As on a disk with a quota; the system's signal for it is SIGXFSZ, which Python ignores."""

    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))

    done = start(score_flags(tmp_path / "scores"), limit=small_files)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_no_output(number, score_flags, tmp_path):
    command = [sys.executable, "-m", "beam_jobs.score", *score_flags(tmp_path / "scores", "--batch_size=1")]
    with subprocess.Popen(command, cwd=ROOT, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("scores.staging-*/*")) and process.poll() is None:
            pass
        process.send_signal(number)
        status = process.wait(60)
    if status != 0:  # it was stopped before it had finished
        assert status in (128 + number, -number)
        assert not (tmp_path / "scores").exists()
    done = start(score_flags(tmp_path / "scores", "--overwrite"))
    assert done.returncode == 0, done.stderr
    assert_done(tmp_path / "scores")
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


def mounted(script, size, *arguments):
    """Runs a script with `$1` on a file system in memory of some size, in a namespace of its own."""
    mount = f'mount -t tmpfs -o size={size} tmpfs "$1" && {script}'
    return subprocess.run(
        ["/usr/bin/unshare", "-rm", "/bin/bash", "-c", mount, "bash", *map(str, arguments)],
        cwd=ROOT,
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def disk(tmp_path):
    """Where a small disk can be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        probe = mounted("true", "64k", path)
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if probe.returncode:
        pytest.skip(f"a user may not mount here: {probe.stderr.strip()}")
    return path


def test_a_really_full_disk(disk, model_base, endpoint, tmp_path):
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=100_000) for name in ("x0", "x1", "c0")}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    flags = [f"--model={model_base}", f"--input={tmp_path / 'a.parquet'}", *endpoint, "--keep=*"]
    script = '"${@:2}" --output "$1/scores"; status=$?; ls -A "$1"; exit $status'
    done = mounted(script, "1m", disk, sys.executable, "-m", "beam_jobs.score", *flags)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == "", "nothing is left on the disk"


def test_an_export_to_a_really_full_disk(disk):
    driver = Path(__file__).with_name("export_again.py")
    script = '"${@:2}" "$1" 1; ls -A "$1/1/flow"'
    done = mounted(script, "64k", disk, sys.executable, str(driver))
    assert '"refused": "model base' in done.stdout
    assert "nothing is published" in done.stdout
    assert done.stdout.splitlines()[1:] == [".lock"]


def test_a_read_only_disk(disk, score_flags):
    flags = [flag for flag in score_flags("") if not flag.startswith("--output")]
    script = 'mount -o remount,ro "$1" && "${@:2}" --output "$1/scores"'
    done = mounted(script, "1m", disk, sys.executable, "-m", "beam_jobs.score", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --output {disk}/scores cannot be written: Read-only file system")
    assert done.stderr.count("\n") == 1
    driver = Path(__file__).with_name("export_again.py")
    done = mounted('mount -o remount,ro "$1" && "${@:2}" "$1" 1', "1m", disk, sys.executable, str(driver))
    assert "cannot be created: Read-only file system" in done.stdout or "is not writable" in done.stdout


def test_training_on_a_really_full_disk(disk, table):
    flags = ["--data", str(table), "--event", "x0,x1", "--condition", "c0", "--max_epochs", "1", "--num_layers", "1"]
    script = '"${@:2}" --run "$1/run"'
    for size in ("8k", "64k"):  # the rows do not fit; the state does not
        done = mounted(script, size, disk, sys.executable, "-m", "maf", *flags)
        told = done.stderr.splitlines()[-1]
        assert done.returncode == 1, done.stderr
        assert told.startswith("error: ")
        assert "No space left on device" in told
        assert "Traceback" not in done.stderr
