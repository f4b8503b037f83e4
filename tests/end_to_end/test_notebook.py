"""The notebook: it runs from the first cell to the last, and says what the one that is committed says.

After a change run it again, outputs and all: `.venv/bin/jupyter execute --inplace examples/rides.ipynb`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "rides.ipynb"

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbclient and ipykernel, of the extra dev")


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def texts(notebook):
    """What each cell of code has printed or shown, as text."""
    shown = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = [each.get("text") or each.get("data", {}).get("text/plain", "") for each in cell.outputs]
            shown.append("".join(outputs))
    return shown


def hold(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert "image/png" in cells[-1].outputs[-1].data
    shown = "\n".join(texts(notebook))
    assert re.search(r"3 +20\.0 +12\.0 +NaN +rain +NaN +distance: null", shown)
    assert 77 < float(re.search(r"inside of the 80 % interval: ([\d.]+)%", shown)[1]) < 83
    late = float(re.search(r"^rush hour +[\d.]+ +([\d.]+)$", shown, re.MULTILINE)[1])
    assert late == pytest.approx(0.25, abs=0.06)  # 0.55 of them get stuck, and need 24.7 minutes in the median


def test_the_committed_notebook_shows_what_it_is_about():
    hold(read(NOTEBOOK))
    assert str(Path.home()) not in NOTEBOOK.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    pytest.importorskip("nbclient")
    pytest.importorskip("matplotlib")
    shutil.copy(NOTEBOOK, tmp_path)
    command = [sys.executable, "-m", "jupyter", "execute", "--timeout=100", "--output=run", NOTEBOOK.name]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "IPYTHONDIR": str(tmp_path / "ipython")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    hold(read(tmp_path / "run.ipynb"))
    assert {path.name for path in tmp_path.iterdir()} == {"rides.ipynb", "run.ipynb", "ipython"}
