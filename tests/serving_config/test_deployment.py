"""What runs and watches the server: Kubernetes, Docker Compose, Prometheus, Grafana."""

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
    build_files,
)
from serving_config.deployment.kubernetes import probe, probe_command

KUBERNETES_VERSIONS = ("1.30", "1.37")


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
    models = text_format.Parse(config["data"]["models.config"], model_server_config_pb2.ModelServerConfig())
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
