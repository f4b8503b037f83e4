import json

import pytest

from serving_config import (
    BatchingParameters,
    ClusterSpec,
    ServedModel,
    ServingSpec,
    TlsFiles,
    UsageError,
    VersionPolicy,
)
from serving_config.generate import read_spec

DEMO = ServedModel(name="demo", base_path="gs://bucket/demo")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ServedModel(name="", base_path="/m"), "model name is ''"),
        (lambda: ServedModel(name="a/b", base_path="/m"), "model name is 'a/b'; expected letters"),
        (lambda: ServedModel(name="a:b", base_path="/m"), "model name is 'a:b'"),
        (lambda: ServedModel(name="a b", base_path="/m"), "model name is 'a b'"),
        (lambda: ServedModel(name="m", base_path=" "), "the base path of model m is empty"),
        (lambda: ServedModel(name="m", base_path="/m", version_labels={"st/able": 1}), "version label of model m is"),
        (lambda: ServingSpec(models=()), "there is no model"),
        (lambda: ServingSpec(models=(DEMO, DEMO)), "model demo is listed 2 times"),
        (lambda: ServingSpec(models=(DEMO,), port=8501), "two of 1 to 65535 that differ"),
        (lambda: ServingSpec(models=(DEMO,), cores=0), "cores is 0"),
        (lambda: ServingSpec(models=(DEMO,), intra_op_threads=0), "intra_op_threads is 0"),
        (lambda: ServingSpec(models=(DEMO,), image="a b"), "image is 'a b'"),
        (lambda: ServingSpec(models=(DEMO,), monitoring_path="metrics"), "monitoring_path is 'metrics'"),
        (lambda: BatchingParameters(max_batch_size=64, allowed_batch_sizes=(8, 32)), "last allowed size must equal"),
        (lambda: BatchingParameters(max_batch_size=8, allowed_batch_sizes=(8, 8)), "increasing numbers"),
        (lambda: BatchingParameters(max_batch_size=0), "max_batch_size is 0"),
        (lambda: BatchingParameters(num_batch_threads=0), "num_batch_threads is 0"),
        (lambda: ClusterSpec(name="Upper"), "cluster name is 'Upper'"),
        (lambda: ClusterSpec(min_replicas=3, max_replicas=2), "replicas are 3 to 2"),
        (lambda: ClusterSpec(memory="much"), "cluster memory is 'much'"),
        (lambda: VersionPolicy.parse("newest"), "expected latest, latest=N, all or specific=N,N"),
        (lambda: VersionPolicy.parse("specific="), "no list of integers"),
        (lambda: VersionPolicy.parse("specific=1,1"), "each once"),
        (lambda: VersionPolicy.parse("latest=0"), "expected at least 1"),
    ],
)
def test_what_tensorflow_serving_would_not_take_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_keys_that_are_no_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"ssl server_key .* is no file"):
        TlsFiles(server_key=tmp_path / "key.pem", server_cert=tmp_path / "cert.pem")


@pytest.mark.parametrize(
    ("text", "loaded"), [("latest", {7}), ("latest=2", {3, 7}), ("all", {1, 3, 7}), ("specific=1,9", {1})]
)
def test_a_policy_loads(text, loaded):
    assert VersionPolicy.parse(text).loaded([3, 1, 7]) == loaded


def test_a_file_of_yaml_or_json_is_a_spec(tmp_path):
    data = {
        "models": [
            {"name": "demo", "base_path": "models/demo", "version_labels": {"stable": 1}},
            {"name": "far", "base_path": "s3://b/far", "version_policy": {"kind": "specific", "versions": [1, 2]}},
        ],
        "cores": 4,
        "batching": {"max_batch_size": 8, "allowed_batch_sizes": [2, 8]},
        "cluster": {"name": "flows", "namespace": None},
    }
    (tmp_path / "spec.json").write_text(json.dumps(data))
    spec = read_spec(tmp_path / "spec.json")
    assert spec.models[0].base_path == str(tmp_path / "models/demo")
    assert spec.models[0].version_labels == {"stable": 1}
    assert spec.models[1].base_path == "s3://b/far"
    assert spec.models[1].version_policy == VersionPolicy(kind="specific", versions=(1, 2))
    assert spec.batching == BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert (spec.cores, spec.cluster) == (4, ClusterSpec(name="flows"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [", "cannot be read"),
        ("- 1", r"spec is \[1\]; expected dict"),
        ("cores: 2", "spec lacks the key 'models'"),
        ("models: []", "there is no model"),
        ("models: [{name: a}]", r"spec\.models\[0\] lacks the key 'base_path'"),
        ("models: [{name: a, base_path: /a, path: x}]", r"models\[0\] has an unknown key 'path'; known keys: name"),
        ("models: [{name: 1, base_path: /a}]", r"models\[0\]\.name is 1; expected str"),
        ("models: [{name: a, base_path: /a}]\ncores: true", r"spec\.cores is True; expected int"),
        ("models: [{name: a, base_path: /a, version_labels: {s: x}}]", r"version_labels\.s is 'x'; expected int"),
        ("models: [{name: a, base_path: /a, version_policy: {kind: newest}}]", r"kind is 'newest'; expected one of"),
    ],
)
def test_a_file_that_is_no_spec_is_refused_by_the_place_of_its_error(tmp_path, text, message):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
