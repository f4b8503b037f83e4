"""Damaged versions and damaged tables: one line that says so, or every row accounted for; never a wrong score."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from beam_jobs import ScoreOptions, score_table
from export.contract import CONTRACT_PATH
from maf_serving.errors import MafServingError
from tests.beam_jobs.conftest import log_prob
from tests.beam_jobs.write_table import FORMATS, write_table
from tests.faults.conftest import ENV, ROOT

pytestmark = pytest.mark.faults
DATA = "variables/variables.data-00000-of-00001"


def change(**values):
    """Sets keys of the contract."""

    def apply(version):
        contract = json.loads((version / CONTRACT_PATH).read_text())
        (version / CONTRACT_PATH).write_text(json.dumps(contract | values))

    return apply


def write(path, content):
    """Replaces a file's bytes by those, or by what a function makes of them."""

    def apply(version):
        file = version / path
        file.write_bytes(content(file.read_bytes()) if callable(content) else content)

    return apply


DAMAGE = {
    "contract cut": write(CONTRACT_PATH, lambda text: text[: len(text) // 2]),
    "contract empty": write(CONTRACT_PATH, b""),
    "contract no text": write(CONTRACT_PATH, b"\xff\xfe\0"),
    "contract too deep": write(CONTRACT_PATH, b"[" * 200_000),
    "contract with more keys": change(more=1),
    "contract of one column": change(event_columns=["x0"]),
    "contract of other columns": change(event_columns=["c0", "x1"]),
    "contract of float64": change(dtype="float64"),
    "contract without condition": change(conditional_columns=[]),
    "contract without signatures": change(signatures={}),
    "no contract": lambda version: (version / CONTRACT_PATH).unlink(),
    "no graph": lambda version: (version / "saved_model.pb").unlink(),
    "graph cut": write("saved_model.pb", lambda data: data[: len(data) // 3]),
    "graph empty": write("saved_model.pb", b""),
    "graph noise": write("saved_model.pb", lambda _: os.urandom(5_000)),
    "index noise": write("variables/variables.index", lambda _: os.urandom(300)),
    "no index": lambda version: (version / "variables" / "variables.index").unlink(),
    "variables cut": write(DATA, lambda data: data[:4]),
    "variables changed": write(DATA, lambda data: bytes(byte ^ 1 for byte in data)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_version_is_refused_in_one_line(name, model_base, table, tmp_path):
    version = tmp_path / "model" / "3"
    shutil.copytree(model_base / "3", version)
    DAMAGE[name](version)
    flags = [f"--model={version.parent}", f"--input={table}", f"--output={tmp_path / 'scores'}"]
    done = subprocess.run(
        [sys.executable, "-m", "beam_jobs.score", *flags],
        cwd=ROOT,
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode in (1, 2), done.stdout
    assert last.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A file of each format, and its rows."""
    rng = np.random.default_rng(3)
    columns = {name: np.float32(rng.normal(size=400)).tolist() for name in ("x0", "x1", "c0")}
    root = tmp_path_factory.mktemp("sound")
    files = {extension: root / f"a.{extension}" for extension in FORMATS}
    for path in files.values():
        write_table(path, columns, 50)
    return files, log_prob(*(np.array(columns[name]) for name in ("x0", "x1", "c0")))


CHECKED = ("parquet", "tfrecord", "tfrecord.gz")  # with checksums near the rows: these notice a changed bit


@pytest.mark.parametrize("extension", FORMATS)
def test_random_damage_in_a_table(extension, sound, model_base, tmp_path):
    files, density = sound
    content = files[extension].read_bytes()
    rng = np.random.default_rng()
    for number in range(12):
        seed = int(rng.integers(2**32))
        chosen = np.random.default_rng(seed)
        damaged = bytearray(content)
        kind = number % 3
        if kind == 0:
            del damaged[int(chosen.integers(len(damaged))) :]
        elif kind == 1:
            damaged[int(chosen.integers(len(damaged)))] ^= int(chosen.integers(1, 256))
        else:
            start = int(chosen.integers(len(damaged)))
            damaged[start : start + int(chosen.integers(1, 200))] = chosen.bytes(int(chosen.integers(0, 200)))
        path = tmp_path / f"a.{extension}"
        path.write_bytes(damaged)
        output = tmp_path / f"out{number}"
        options = ScoreOptions(
            max_rejected=1.0,
            model=str(model_base),
            input_patterns=(str(path),),
            output=str(output),
            on_bad_file="reject",
            batch_size=64,
        )
        try:
            summary = score_table(options)
        except MafServingError as error:
            assert "\n" not in str(error), (seed, kind)  # noqa: PT017  # if it is refused at all
            assert not output.exists()
            continue
        rows = [row for file in output.glob("scored-*") for row in pq.read_table(file).to_pylist()]
        rejected = [row for file in output.glob("_rejected-*") for row in pq.read_table(file).to_pylist()]
        assert summary.rows_read == len(rows) + len(rejected), (seed, kind)
        assert len({row["row"] for row in rows + rejected}) == summary.rows_read, (seed, kind)
        if extension in CHECKED:
            for row in rows:
                assert row["row"] < len(density), (seed, kind)
                assert row["log_prob"] == pytest.approx(density[row["row"]], rel=1e-3, abs=1e-3), (seed, kind)
