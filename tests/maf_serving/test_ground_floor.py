"""Importing the package, its errors and its contract loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numpy", "pyarrow", "tensorflow", "tensorflow_probability", "apache_beam", "grpc", "google.protobuf", "yaml")


@pytest.mark.parametrize(
    "module", ["maf_serving", "maf_serving.columns", "maf_serving.errors", "maf_serving.strict_json", "export.contract"]
)
def test_is_light(module):
    program = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
