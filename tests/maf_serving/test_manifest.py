"""`--manifest`: input files are those that were meant, before they are read and after."""

from __future__ import annotations

import hashlib
import shutil
import subprocess

import pytest

from beam_jobs.errors import ChangedInputError
from beam_jobs.options.flags import parse_score_flags
from maf import DataConfig
from maf.rows import split_table
from maf_serving.errors import UsageError
from maf_serving.manifest import Manifest


def write(path, text):
    path.write_text(text)
    return f"{hashlib.sha256(text.encode()).hexdigest()}  {path.name}\n"


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    lines = [write(directory / name, f"y\n{index}\n") for index, name in enumerate(("a.csv", "b, c.csv"))]
    (directory / "data.sha256").write_text("".join(lines))
    return directory


def test_what_sha256sum_writes_is_read(data):
    odd = data / "back\\slash.csv"
    odd.write_text("y\n1\n")
    names = ["a.csv", "b, c.csv", odd.name]
    written = subprocess.run(
        [shutil.which("sha256sum"), *names], cwd=data, capture_output=True, text=True, check=True
    ).stdout
    (data / "written").write_text(written)
    Manifest.read(str(data / "written")).check([str(data / name) for name in names])


def test_a_changed_digit_is_found_by_name(data):
    manifest = Manifest.read(str(data / "data.sha256"))
    (data / "b, c.csv").write_text("y\n7\n")
    with pytest.raises(ChangedInputError, match=r"b, c\.csv has sha256 [0-9a-f]{12}\.\.\., and --manifest .* says"):
        manifest.check([str(data / "a.csv"), str(data / "b, c.csv")], error=ChangedInputError)
    (data / "b, c.csv").unlink()
    with pytest.raises(UsageError, match="cannot be read to be compared"):
        manifest.check([str(data / "b, c.csv")])


@pytest.mark.parametrize("text", ["abc  a.csv\n", "SHA256 (a.csv) = " + 64 * "0" + "\n", 64 * "0" + "\n"])
def test_what_is_no_manifest_is_refused_with_its_line(data, text):
    (data / "wrong").write_text((data / "data.sha256").read_text() + text)
    with pytest.raises(UsageError, match=r"wrong, line 3: .*; expected a sha256 of 64 digits and a file's name"):
        Manifest.read(str(data / "wrong"))
    with pytest.raises(UsageError, match="none cannot be read"):
        Manifest.read(str(data / "none"))


def test_training_compares_before_and_after(tmp_path):
    path = tmp_path / "a.csv"
    line = write(path, "y\n" + "\n".join(map(str, range(200))) + "\n")
    (tmp_path / "m").write_text(line)
    config = DataConfig(data=(str(path),), event=("y",), manifest=str(tmp_path / "m"))
    assert len(split_table(config, tmp_path / "rows", dtype="float32", seed=0).training) > 100

    def spoil(_rows):
        path.write_text(path.read_text().replace("17", "71"))

    with pytest.raises(UsageError, match="has sha256"):
        split_table(config, tmp_path / "again", dtype="float32", seed=0, on_rows=spoil)
    assert not (tmp_path / "again" / "rows.json").exists()
    with pytest.raises(UsageError, match="has sha256"):
        split_table(config, tmp_path / "third", dtype="float32", seed=0)
    (tmp_path / "m").write_text(line.replace("a.csv", "b.csv"))
    with pytest.raises(UsageError, match=r"a\.csv is not in --manifest .*; expected a line for each input file"):
        split_table(config, tmp_path / "fourth", dtype="float32", seed=0)


def test_the_jobs_take_the_flag():
    options, _ = parse_score_flags(["--model=m", "--input=a.csv", "--output=o", "--manifest=a.sha256"])
    assert options.manifest == "a.sha256"
