"""The lines on MLflow, with an MLflow: a version is logged, comes back, and answers as it did."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest

from tests.docs.commands import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
(LINES,) = re.findall(r"^```python\n(import mlflow\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

GIVEN = """
import os
import numpy as np
import maf_serving as ms
rng = np.random.default_rng(0)
season = rng.integers(1, 5, 400).astype(float)
sales = {"season": season, "price": rng.normal(season, 1.0)}
small = {"max_epochs": 1, "num_layers": 1, "announce": list}
run = ms.train(sales, event=["price"], condition=["season"], run="runs/sales", **small)
ms.export(run, "models/sales")
"""
CHECK = """
assert os.path.samefile(base, "fetched/sales"), base
assert model.log_prob(sales).equals(ms.load(version).log_prob(sales))
told = mlflow.get_run(tracked.info.run_id).data
assert told.metrics == {"validation_nll": training.validation_nll, "test_nll": training.test_nll}, told
assert told.params == {"training_rows": str(training.training_rows), "epochs": "1"}, told
"""


@pytest.mark.slow
def test_a_version_comes_back_from_mlflow(tmp_path):
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("MLflow is not installed: make test-mlflow")
    done = subprocess.run(
        [sys.executable, "-c", GIVEN + LINES + CHECK],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        },
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fetched" / "sales" / "1" / "saved_model.pb").is_file()
