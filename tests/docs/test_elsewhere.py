"""docs/elsewhere.md: its requests are answered, and its files and commands are those that platforms expect."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import tarfile

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

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
    program = blocks(language)[0]
    assert blocks("json")[1].strip() in program
    assert '"http://localhost:8501/v1/models/demo:predict"' in program


CLIENTS = ROOT / "examples" / "clients"
PROGRAMS = {
    "go": (CLIENTS / "go" / "main.go", r'predict\("(\w+)", map\[string\]\*tfs.TensorProto\{(.*?)\}\)'),
    "java": (CLIENTS / "java/src/main/java/Forecast.java", r'predict\(channel, "(\w+)", Map.of\((.*?)\)\);'),
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_grpc_programs_ask_what_an_export_answers(language):
    """Of one event column, price, and one number, season; those of a raw column have 64 bits."""
    path, calls = PROGRAMS[language]
    program = path.read_text(encoding="utf-8").replace('predict("log_prob_columns", raw)', "")
    found = {signature: set(re.findall(r'"(\w+)"', inputs)) for signature, inputs in re.findall(calls, program)}
    if language == "go":
        (raw,) = re.findall(r"raw := map\[string\]\*tfs.TensorProto\{(.*?)\}\n", program)
        found["log_prob_columns"] = set(re.findall(r'"(\w+)"', raw))
    assert found == {
        "log_prob": {"x", "conditional_input"},
        "sample_with_seed": {"conditional_input", "seed"},
        "quantile": {"probability", "conditional_input"},
        "summarize": {"conditional_input", "seed"},
        "log_prob_columns": {"price", "season"},
    }
    excerpt = blocks(language)[1].strip()
    assert excerpt in program
    assert "DT_DOUBLE" in program
    assert '"localhost:8500"' in program


def test_the_messages_of_a_call_are_those_of_six_files(tmp_path, capsys):
    runpy.run_path(str(CLIENTS / "protos.py"))["main"](str(tmp_path / "protos.pb"))
    names = capsys.readouterr().out.split()
    assert len(names) == 6
    assert names[-1] == "tensorflow_serving/apis/predict.proto"
    files = FileDescriptorSet.FromString((tmp_path / "protos.pb").read_bytes())
    assert [file.name for file in files.file if not file.name.startswith("google/")] == names


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
