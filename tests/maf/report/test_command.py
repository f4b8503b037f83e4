import os
import subprocess
import sys

import pytest

from maf.report import __main__ as command
from tests.forked import run_python

LOADED = "print(sorted(m for m in sys.modules if m in {'tensorflow', 'numpy', 'tf_keras', 'pyarrow', 'matplotlib'}))"


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    return command.main()


def test_help_answers_without_tensorflow():
    code = f"""import sys, runpy
sys.argv = ["report", "--help"]
try:
    runpy.run_module("maf.report", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
{LOADED}"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--exact_entropy" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_writes_a_page_beside_the_run_or_where_asked(runs, tmp_path):
    page = tmp_path / "new" / "page.html"
    command_line = ["-m", "maf.report", "--run", runs["one"], "--max_rows", "60", "--output", page]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}  # another test may have set it for this process
    result = run_python(*command_line, env=quiet)
    assert result.returncode == 0, result.stderr
    rows, *steps = result.stderr.splitlines()
    assert rows.startswith("rows: ")
    assert steps == ["ranking test rows among the model's draws", "drawing p(x | c)"]
    lines = result.stdout.splitlines()
    assert lines[-1] == f"report    {page}"
    assert "this model" in lines[-4]
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "none"], "expected a run directory"),
        (["--run", "RUN", "--test", "none.csv"], "no file matches 'none.csv'"),
        (["--run", "RUN", "--max_rows", "0"], "max_rows is 0; expected at least 1"),
        (["--run", "RUN", "--exact_entropy", "nan"], "exact_entropy is nan"),
        (["--run", "RUN", "--output", "DIRECTORY"], "is a directory; expected a file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(runs, tmp_path, monkeypatch, capsys, arguments, message):
    places = {"RUN": runs["one"], "DIRECTORY": tmp_path}
    assert main(monkeypatch, *(places.get(each, each) for each in arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
