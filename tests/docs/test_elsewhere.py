"""docs/elsewhere.md: its requests are answered, and its files and commands are those that platforms expect."""

from __future__ import annotations

import re
import shlex
import subprocess
import tarfile

import pytest

from maf_serving.model_spec import VersionPolicy
from serving_config.local_server.model_config import ModelConfig
from serving_config.spec import DEFAULT_IMAGE
from tests.docs.commands import ROOT
from tests.serving_config.local_server.support import running

GUIDE = (ROOT / "docs" / "elsewhere.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server():
    path = str(ROOT / "tests" / "golden" / "models" / "golden_flow")
    with running(ModelConfig(name="demo", base_path=path, policy=VersionPolicy())) as started:
        yield started


def test_the_requests_are_answered_with_a_number_for_each_row(server):
    rows, columns = blocks("json")
    answer = server.post("/v1/models/demo:predict", rows)
    assert (answer.status, len(answer.json["predictions"])) == (200, 1)
    answer = server.post("/v1/models/demo:predict", columns)
    assert (answer.status, len(answer.json["outputs"])) == (200, 2)


@pytest.mark.parametrize("language", ["go", "java"])
def test_the_programs_send_the_request_of_the_page(language):
    (program,) = blocks(language)
    assert blocks("json")[1].strip() in program
    assert '"http://localhost:8501/v1/models/demo:predict"' in program


def test_the_archive_holds_the_directory_of_the_model_with_its_versions(tmp_path):
    (layout,) = blocks("text")
    for name in layout.split():
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (command,) = [block for block in blocks("sh") if block.startswith("tar ")]
    subprocess.run(shlex.split(command), cwd=tmp_path, check=True)
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        assert sorted(each.name for each in archive if each.isfile()) == sorted(layout.split())


def test_the_images_are_those_that_the_toolkit_uses():
    (dockerfile,) = blocks("dockerfile")
    assert dockerfile.startswith(f"FROM {DEFAULT_IMAGE}\n")
    assert f"{DEFAULT_IMAGE}-gpu\n" in blocks("sh")[0]
    routes = re.findall(r"--container-(?:health|predict)-route=(\S+)", GUIDE)
    assert routes == ["/v1/models/demo", "/v1/models/demo:predict"]
