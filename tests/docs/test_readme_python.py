"""README's lines in Python, in a process of their own: with pandas, and where it cannot be imported."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.docs.commands import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
(LINES,) = re.findall(r"^```python\n(import maf_serving.*?)^```", README, re.MULTILINE | re.DOTALL)

DATA = """
import numpy as np
rng = np.random.default_rng(0)
season = rng.integers(1, 5, 400).astype(float)
region = [None if each == "none" else str(each) for each in rng.choice(["north", "south", "none"], 400)]
columns = {"id": list(range(400)), "season": season, "region": region, "price": rng.normal(season, 1.0)}
few = {"price": [2.5, None], "season": [1.0, 2.0], "region": [None, "west"]}
"""
WITH_PANDAS = """
import pandas as pd
sales, new = pd.DataFrame(columns), pd.DataFrame(few, index=["a", "b"])
"""
WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pandas", "polars"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
import pyarrow as pa
sales, new = pa.table(columns), pa.table(few)
"""
CHECK_PANDAS = """
assert isinstance(log_prob, pd.Series) and list(log_prob.index) == ["a", "b"], log_prob
assert list(log_prob.isna()) == [False, True], log_prob
assert isinstance(draws, pd.DataFrame) and len(draws) == 200 and not draws["price"].isna().any(), draws
assert model.check(new)["b"] == "price: null"
"""
CHECK_ARROW = """
assert isinstance(log_prob, pa.ChunkedArray), log_prob
assert [each is None for each in log_prob.to_pylist()] == [False, True], log_prob
assert isinstance(draws, pa.Table) and draws.num_rows == 200 and not draws["price"].null_count, draws
assert model.check(new).to_pylist() == [None, "price: null"]
assert "pandas" not in sys.modules
"""
PROGRAMS = {"pandas": (WITH_PANDAS, CHECK_PANDAS), "no pandas": (WITHOUT, CHECK_ARROW)}


@pytest.mark.slow
@pytest.mark.parametrize("case", PROGRAMS)
def test_readme_in_python(tmp_path, case):
    if case == "pandas":
        pytest.importorskip("pandas")
    given, check = PROGRAMS[case]
    lines = LINES.replace('run="runs/sales")', 'run="runs/sales", max_epochs=1, num_layers=1, jit_compile="off")')
    assert lines != LINES
    if case != "pandas":  # all signatures are exported once
        lines = lines.replace('"models/sales")\nmodel', '"models/sales", signatures=["sample_with_seed"])\nmodel')
    done = subprocess.run(
        [sys.executable, "-c", DATA + given + lines + check],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "epoch   1" in done.stdout


def test_five_lines():
    assert len(LINES.splitlines()) == 2 + 5  # with the import
