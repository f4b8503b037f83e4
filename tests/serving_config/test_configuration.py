"""The files that TensorFlow Serving reads."""

import dataclasses
import re
import subprocess

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from maf_serving.messages import message_class
from serving_config import (
    ServedModel,
    ServingSpec,
    UsageError,
    VersionPolicy,
    build_files,
)
from serving_config.server_files import server_flags


def _parse(text, kind):
    return text_format.Parse(text, kind())


def test_models_config_says_what_the_spec_says(spec, local):
    files = build_files(spec)
    config = _parse(files["models.config"], model_server_config_pb2.ModelServerConfig)
    demo, far = config.model_config_list.config
    assert (demo.name, demo.base_path, demo.model_platform) == ("demo", local.base_path, "tensorflow")
    assert list(demo.model_version_policy.specific.versions) == [1, 2]
    assert dict(demo.version_labels) == {"stable": 1, "canary": 2}
    assert far.base_path == "gs://bucket/far"
    assert far.model_version_policy.latest.num_versions == 1


def test_policies_become_tensorflow_servings():
    models = tuple(
        ServedModel(name=f"m{i}", base_path="gs://b/m", version_policy=VersionPolicy.parse(text))
        for i, text in enumerate(("all", "latest=3"))
    )
    text = build_files(ServingSpec(models=models))["models.config"]
    config = _parse(text, model_server_config_pb2.ModelServerConfig)
    everything, latest = (each.model_version_policy for each in config.model_config_list.config)
    assert everything.WhichOneof("policy_choice") == "all"
    assert latest.latest.num_versions == 3


def test_relative_base_paths_become_absolute_as_the_server_wants(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = build_files(ServingSpec(models=(ServedModel(name="m", base_path="models/m"),)))["models.config"]
    assert f'base_path: "{tmp_path}/models/m"' in text


def test_the_smaller_files_are_read_back(spec):
    files = build_files(spec)
    batching = _parse(files["batching_parameters.txt"], message_class("BatchingParameters"))
    assert (batching.max_batch_size.value, list(batching.allowed_batch_sizes)) == (8, [2, 8])
    assert batching.HasField("batch_timeout_micros")
    assert not batching.HasField("num_batch_threads")
    monitoring = _parse(files["monitoring.config"], message_class("MonitoringConfig"))
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"
    ssl = _parse(files["ssl.config"], message_class("SSLConfig"))
    assert ssl.server_key == "-----BEGIN KEY-----\nabc\n"
    assert (ssl.custom_ca, ssl.client_verify) == ("-----BEGIN CA-----\nabc\n", True)


def test_flags_follow_from_the_spec(spec, local):
    flags = dict(flag.removeprefix("--").split("=") for flag in server_flags(spec, "/c"))
    assert flags["model_config_file"] == "/c/models.config"
    assert flags["enable_batching"] == "true"
    assert flags["batching_parameters_file"] == "/c/batching_parameters.txt"
    assert flags["ssl_config_file"] == "/c/ssl.config"
    assert flags["allow_version_labels_for_unavailable_models"] == "true"
    assert (flags["tensorflow_intra_op_parallelism"], flags["rest_api_num_threads"]) == ("3", "12")
    assert "tensorflow_session_parallelism" not in flags  # it excludes the two
    tuned = dataclasses.replace(spec, intra_op_threads=1, inter_op_threads=2)
    assert "--tensorflow_intra_op_parallelism=1" in server_flags(tuned, "/c")
    kserve = yaml.safe_load(build_files(tuned)["kserve/demo.yaml"])["spec"]["predictor"]["model"]
    assert kserve["args"] == ["--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=2"]
    plain = server_flags(ServingSpec(models=(ServedModel(name="m", base_path="/m"),)), "/c")
    assert not [flag for flag in plain if re.search("batching|ssl|label|file_system", flag)]


def test_the_script_starts_the_server_beside_its_files(spec, tmp_path):
    directory = tmp_path / "with space"
    directory.mkdir()
    (directory / "serve.sh").write_text(build_files(spec)["serve.sh"])
    echo = tmp_path / "echo.sh"
    echo.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n')
    echo.chmod(0o755)
    run = subprocess.run(
        ["/bin/sh", str(directory / "serve.sh"), "--more=a b"],
        env={"TENSORFLOW_MODEL_SERVER": str(echo), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    where, *flags = run.stdout.splitlines()
    assert where == str(directory)
    assert flags == [*server_flags(spec, "."), "--more=a b"]


def test_names_that_are_one_on_kubernetes_are_refused():
    models = tuple(ServedModel(name=name, base_path="gs://b/m") for name in ("a_b", "A-b"))
    with pytest.raises(UsageError, match="models a_b and A-b have the same name a-b on Kubernetes"):
        build_files(ServingSpec(models=models))
