"""The API reference: `make docs` builds it, and every public name is there with what its docstring says."""

from __future__ import annotations

import html
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("maf_serving", "maf", "export", "beam_jobs", "serving_config", "serving_config.client")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    pytest.importorskip("pdoc", reason="the API reference needs the extra docs")
    output = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "docs/make_reference.py", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"reference  {output}/index.html\n"
    return output


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(reference, package):
    page = (reference / f"{package.replace('.', '/')}.html").read_text(encoding="utf-8")
    names = set(importlib.import_module(package).__all__) - {"errors"}  # a module, with a page of its own
    assert names <= set(re.findall(r'<section id="(\w+)">', page))
    assert "numpy._typing" not in page


def test_sections_of_a_docstring_are_lists(reference):
    page = (reference / "maf_serving.html").read_text(encoding="utf-8")
    train = page[page.index('<section id="train">') :].partition("</section>")[0]
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", train)).split())
    assert re.search(r"<h6[^>]*>Arguments:</h6>\s*<ul>\s*<li><strong>table:</strong>", train)
    assert ">>> run = ms.train(" in text
    for section in ("Args:", "Raises:\n", "Attributes:\n"):
        assert f"<p>{section}" not in page


def test_the_index_leads_to_the_packages_and_the_errors(reference):
    index = (reference / "index.html").read_text(encoding="utf-8")
    assert (reference / "maf_serving" / "errors.html").is_file()
    for package in PACKAGES:
        assert f'href="{package.replace(".", "/")}.html"' in index
