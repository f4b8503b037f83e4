import subprocess
import sys

import pytest

from benchmarks.__main__ import main
from benchmarks.arguments import parse_arguments


def test_help_answers_without_what_takes_seconds_to_import():
    code = (
        "import sys; sys.argv = ['b', '--help']\nfrom benchmarks.__main__ import main\ntry: main()\n"
        "except SystemExit: sys.exit(bool({'tensorflow', 'apache_beam', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--peers_python" in result.stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--contenders", "tfp,nobody"], "nobody"),
        (["--parts", ""], "expected some of contenders, scoring, serving"),
        (["--peers_python", "/no/such/python"], "expected an interpreter"),
        (["--threads", "0"], "at least 1"),
        (["--json", "/no/such/directory/x.json"], "is no directory"),
        (["--plot", "x.pdf"], r"ends in .svg or .png"),
    ],
)
def test_bad_usage_is_refused_before_anything_starts(argv, said, capsys):
    with pytest.raises(SystemExit) as end:
        parse_arguments(argv)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_a_page_without_a_place_for_the_results_is_refused_before_anything_starts(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("# Prose\n")
    assert main(["--page", str(page)]) == 2
    assert capsys.readouterr().err.startswith(f"error: page {page} has 0 times the line")
    assert page.read_text() == "# Prose\n"
