"""The rollout command on a server that does what it is told: manifests, and interruptions."""

import signal
import subprocess
import sys
import time

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from maf_serving.model_spec import VersionPolicy
from serving_config import ServedModel, ServingSpec, build_files
from serving_config.rollout import main
from tests.waiting import until

POLICY = VersionPolicy(kind="specific", versions=(1,))
MODEL = ServedModel(name="flow", base_path="gs://bucket/flow", version_policy=POLICY, version_labels={"stable": 1})


@pytest.fixture
def files(tmp_path):
    texts = build_files(ServingSpec(models=(MODEL,)))
    for name in ("models.config", "kubernetes/config_map.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(texts[name])
    return tmp_path


def flags(server, operation, *more):
    return [operation, "--model_name", "flow", "--rest_url", server.rest_url, *map(str, more)]


def test_a_manifest_is_rewritten_and_is_told_how_to_apply(server, files, capsys):
    server.statuses = [(2, 30, "")]
    path = files / "kubernetes" / "config_map.yaml"
    before = yaml.safe_load(path.read_text())
    assert main(flags(server, "assign", "--version", 2, "--manifest", path)) == 0
    apply = f"{path} is written; apply it: kubectl apply -f {path}"
    assert capsys.readouterr().out.splitlines() == [
        "load version 2 of model flow",
        apply,
        "move label stable of model flow from version 1 to version 2",
        apply,
        "label stable: version 2; the server answers for it",
    ]
    after = yaml.safe_load(path.read_text())
    config = text_format.Parse(after["data"].pop("models.config"), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert list(model.model_version_policy.specific.versions) == [1, 2]
    assert dict(model.version_labels) == {"stable": 2}
    before["data"].pop("models.config")
    assert after == before
    assert [each.name for each in path.parent.iterdir()] == ["config_map.yaml"]


def test_a_manifest_that_is_not_applied_is_told_so(server, files, capsys):
    server.statuses = [(1, 30, "")]  # metadata says version 2
    path = files / "kubernetes" / "config_map.yaml"
    assert main(flags(server, "assign", "--version", 1, "--manifest", path, "--wait_seconds", 0.1)) == 1
    assert f"was the manifest applied (kubectl apply -f {path})?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("kind: Deployment\n", "has 0 ConfigMaps with the key models.config"),
        ("kind: ConfigMap\ndata: {other: x}\n", "has 0 ConfigMaps"),
        ("kind: [", "expected a manifest"),
        ("kind: ConfigMap\ndata: {models.config: 'model_config_list {'}\n", "is no ModelServerConfig"),
    ],
)
def test_another_manifest_is_refused(server, tmp_path, capsys, text, complaint):
    path = tmp_path / "other.yaml"
    path.write_text(text)
    assert main(flags(server, "promote", "--manifest", path)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_rollout_takes_back_a_version_that_is_not_loaded(server, files, number):
    server.statuses = [(9, 20, "")]  # loading, for ever
    path = files / "models.config"
    before = path.read_text()
    command = [sys.executable, "-m", "serving_config.rollout", *flags(server, "assign", "--version", 9)]
    with subprocess.Popen(
        [*command, "--models_config", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: "versions: 9" in path.read_text(), of=process)
        time.sleep(0.3)  # it waits for the version
        process.send_signal(number)
        out, told = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert out == "load version 9 of model flow\n"
    assert told == (
        f"error: interrupted by {number.name}; the configuration is whole, and no label is on a version that is not "
        "loaded\n"
    )
    assert path.read_text() == before
    assert [each.name for each in files.iterdir() if each.name.startswith(".")] == []
