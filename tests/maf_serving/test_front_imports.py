"""What the front door loads, and when."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

import maf_serving as ms
from beam_jobs.options.flags import evaluate_flags
from maf import DataConfig, FlowConfig, TrainingConfig
from maf.arguments import flag_of

HEAVY = ("numpy", "pyarrow", "pandas", "polars", "tensorflow", "tensorflow_probability", "apache_beam", "maf", "export")


def loaded_by(program):
    check = f"{program}; import sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_package_alone_loads_nothing():
    assert loaded_by("import maf_serving as ms; ms.errors; dir(ms)") == "[]"


@pytest.mark.parametrize("name", ["train", "load", "score", "serve", "export"])
def test_a_name_loads_neither_tensorflow_nor_data_frames(name):
    loaded = loaded_by(f"import maf_serving as ms; ms.{name}")
    assert not {"tensorflow", "apache_beam", "pandas", "polars"} & set(loaded.split("'"))


def test_the_options_of_training_are_those_of_the_command():
    fields = [field for part in (DataConfig, FlowConfig, TrainingConfig) for field in dataclasses.fields(part)]
    flags = [flag_of(field.name) for field in fields if "help" in field.metadata and field.name != "test_data"]
    assert [f"--{name}" for name in ms.TrainingOptions.__annotations__ if name != "csv"] == flags


def test_the_options_of_jobs_are_those_of_the_commands():
    flags = set(evaluate_flags().flags()) - {"-h", "--help", "--model", "--input", "--output"}
    flags -= {"--group_column", "--max_groups", "--crps_rows", "--weight"}
    dialect = {f"--csv_{field.name}" for field in dataclasses.fields(ms.CsvDialect)}
    assert {f"--{name}" for name in ms.JobKeywords.__annotations__} == flags - dialect | {"--csv"}
    assert dialect < flags
