import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import check_jsonschema
import jsonschema
import kubernetes_validate
import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving_config import (
    BatchingParameters,
    ServedModel,
    ServingSpec,
    TlsFiles,
    UsageError,
    VersionPolicy,
    build_files,
)
from serving_config.command_line import server_flags
from serving_config.deployment.readiness import probe, probe_command
from serving_config.server_files import message_class
from serving_config.spec_file import read_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "serving" / "spec.yaml"
KUBERNETES_VERSIONS = ("1.30", "1.37")


@pytest.fixture
def local(tmp_path):
    return ServedModel(
        name="demo",
        base_path=str(tmp_path / "models" / "demo"),
        version_policy=VersionPolicy.parse("specific=1,2"),
        version_labels={"stable": 1, "canary": 2},
    )


@pytest.fixture
def spec(local, tmp_path):
    for name in ("key", "cert", "ca"):
        (tmp_path / name).write_text(f"-----BEGIN {name.upper()}-----\nabc\n")
    return ServingSpec(
        models=(local, ServedModel(name="far_away", base_path="gs://bucket/far")),
        cores=3,
        batching=BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8), batch_timeout_micros=0),
        ssl=TlsFiles(
            server_key=tmp_path / "key",
            server_cert=tmp_path / "cert",
            custom_ca=tmp_path / "ca",
            client_verification="required",
        ),
    )


@pytest.fixture(params=["full", "example", "plain"])
def files(request, spec, local):
    specs = {"full": spec, "plain": ServingSpec(models=(local,))}
    return build_files(specs[request.param] if request.param in specs else read_spec(EXAMPLE))


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


def test_manifests_are_valid_kubernetes(files):
    documents = [
        document
        for path, text in files.items()
        if path.startswith("kubernetes/")
        for document in yaml.safe_load_all(text)
    ]
    kinds = {document["kind"] for document in documents}
    assert kinds == {"ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    for document in documents:
        for version in KUBERNETES_VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)


def test_the_validator_would_find_a_misspelt_key(files):
    document = yaml.safe_load(files["kubernetes/deployment.yaml"])
    document["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, KUBERNETES_VERSIONS[-1], strict=True)


def test_the_parts_of_manifests_fit_each_other(spec):
    files = build_files(spec)
    deployment = yaml.safe_load(files["kubernetes/deployment.yaml"])
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    for service in yaml.safe_load_all(files["kubernetes/service.yaml"]):
        assert service["spec"]["selector"] == labels
        ports = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
        assert service["spec"]["ports"][0]["appProtocol"] == "https"  # the spec has TLS
    assert yaml.safe_load(files["kubernetes/disruption_budget.yaml"])["spec"]["selector"]["matchLabels"] == labels
    target = yaml.safe_load(files["kubernetes/autoscaler.yaml"])["spec"]["scaleTargetRef"]["name"]
    assert target == deployment["metadata"]["name"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert all(mount["readOnly"] for mount in container["volumeMounts"] if mount["name"] != "tmp")
    config = yaml.safe_load(files["kubernetes/config_map.yaml"])
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]
    for flag in container["args"]:
        if "_file=" in flag and "ssl" not in flag:
            directory, _, name = flag.partition("=")[2].rpartition("/")
            assert directory == "/etc/tensorflow-serving"
            assert name in config["data"]
    assert "--ssl_config_file=/etc/tensorflow-serving-ssl/ssl.config" in container["args"]
    assert "KEY" not in "".join(text for path, text in files.items() if path.startswith("kubernetes/"))
    models = _parse(config["data"]["models.config"], model_server_config_pb2.ModelServerConfig)
    assert [each.base_path for each in models.model_config_list.config] == ["/models/demo", "gs://bucket/far"]
    assert container["securityContext"]["runAsNonRoot"] is True


def test_pods_are_replaced_for_files_that_a_server_reads_once(local):
    def annotation(spec):
        deployment = yaml.safe_load(build_files(spec)["kubernetes/deployment.yaml"])
        return deployment["spec"]["template"]["metadata"]["annotations"]["maf-serving/config"]

    def spec(labels, most):
        model = ServedModel(name="m", base_path="gs://b/m", version_labels=labels)
        return ServingSpec(models=(model,), batching=BatchingParameters(max_batch_size=most))

    assert annotation(spec({"stable": 1}, 8)) == annotation(spec({"stable": 2}, 8))
    assert annotation(spec({"stable": 1}, 8)) != annotation(spec({"stable": 1}, 16))


def test_compose_fits_the_published_schema_and_mounts_read_only(files):
    schema = _compose_schema()
    compose = yaml.safe_load(files["docker-compose.yml"])
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.validate(compose)
    assert all(mount["read_only"] for service in compose["services"].values() for mount in service["volumes"])
    compose["services"]["tensorflow-serving"]["volumes"][0]["readonly"] = True
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(compose)


def test_compose_mounts_local_models_where_models_config_has_them(spec, local):
    compose = yaml.safe_load(build_files(spec)["docker-compose.yml"])
    mounts = {mount["target"]: mount["source"] for mount in compose["services"]["tensorflow-serving"]["volumes"]}
    assert mounts == {"/etc/tensorflow-serving": ".", local.base_path: local.base_path}


def _compose_schema():
    path = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_kserve_services_have_names_and_storage(spec):
    files = build_files(spec)
    demo, far = (yaml.safe_load(files[f"kserve/{name}.yaml"]) for name in ("demo", "far-away"))
    assert demo["spec"]["predictor"]["model"]["storageUri"] == "pvc://models/demo"
    assert far["spec"]["predictor"]["model"]["storageUri"] == "gs://bucket/far"
    for service in (demo, far):
        assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
        # KServe's own keys aside, a predictor is a pod and a model is a container: Kubernetes' schema holds for them.
        predictor = dict(service["spec"]["predictor"])
        container = dict(predictor.pop("model"))
        assert container.pop("modelFormat") == {"name": "tensorflow", "version": "2"}
        assert container.pop("protocolVersion") == "v1"
        assert container.pop("storageUri")
        assert predictor.pop("minReplicas") <= predictor.pop("maxReplicas")
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": service["metadata"],
            "spec": {**predictor, "containers": [{"name": "kserve-container", **container}]},
        }
        kubernetes_validate.validate(pod, KUBERNETES_VERSIONS[-1], strict=True)


def test_prometheus_scrapes_where_the_server_exports(spec):
    files = build_files(spec)
    (job,) = yaml.safe_load(files["prometheus.yml"])["scrape_configs"]
    assert job["metrics_path"] == "/monitoring/prometheus/metrics"
    assert job["static_configs"] == [{"targets": ["tensorflow-serving:8501"]}]
    assert "tensorflow-serving" in yaml.safe_load(files["docker-compose.yml"])["services"]


def test_the_dashboard_asks_for_the_servers_metrics(files):
    dashboard = json.loads(files["grafana_dashboard.json"])
    panels = {panel["title"]: panel for panel in dashboard["panels"]}
    assert {"Requests per second", "Requests in error", "Latency"} <= set(panels)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert re.findall(r":tensorflow:serving:(\w+)", target["expr"])
            assert target["expr"].count("(") == target["expr"].count(")")
            assert "by (" in target["expr"]
    assert 'histogram_quantile(0.99, sum by (model_name, le)' in panels["Latency"]["targets"][2]["expr"]  # fmt: skip


def test_the_probe_asks_for_a_version_that_answers(spec, server):
    one = ServingSpec(models=spec.models[:1])
    assert probe(one) == {"httpGet": {"path": "/v1/models/demo/metadata", "port": "rest"}}
    port = int(server.rest_url.rpartition(":")[2])
    both = ServingSpec(models=spec.models, rest_api_port=port)
    assert probe(both) == {"exec": {"command": probe_command(both)}}
    assert shutil.which("bash"), "the probe is a bash script"
    for known, status in (({"demo"}, 1), ({"demo", "far_away"}, 0), (set(), 1)):
        server.models = known
        assert subprocess.run(probe_command(both), check=False, timeout=20).returncode == status
    nobody = ServingSpec(models=spec.models, rest_api_port=9)
    assert subprocess.run(probe_command(nobody), check=False, timeout=20, capture_output=True).returncode == 1


def test_metadata_is_what_a_real_server_refuses_without_a_version(recordings):
    answers = {r["path"]: r["status"] for r in recordings if r["transport"] == "rest" and r["method"] == "GET"}
    assert answers["/v1/models/golden_flow/metadata"] == 200
    assert answers["/v1/models/nope/metadata"] == 404


def test_names_that_are_one_on_kubernetes_are_refused():
    models = tuple(ServedModel(name=name, base_path="gs://b/m") for name in ("a_b", "A-b"))
    with pytest.raises(UsageError, match="models a_b and A-b have the same name a-b on Kubernetes"):
        build_files(ServingSpec(models=models))
