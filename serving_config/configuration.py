"""All the files of a spec: paths and texts, nothing written yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maf_serving.messages import message_text
from serving_config.deployment import kubernetes
from serving_config.deployment.compose import compose_file
from serving_config.deployment.kubernetes import inference_service, service_name
from serving_config.deployment.monitoring import PROMETHEUS_FILE, grafana_dashboard, prometheus_file
from serving_config.errors import UsageError
from serving_config.server_files import (
    BATCHING_PARAMETERS,
    MODELS_CONFIG,
    MONITORING_CONFIG,
    SCRIPT,
    SSL_CONFIG,
    model_server_config,
    monitoring_text,
    serve_script,
    ssl_text,
)

if TYPE_CHECKING:
    from serving_config.spec import ServedModel, ServingSpec

_NO_FOLDING = 10**6


def build_files(spec: ServingSpec) -> dict[str, str]:
    """The texts of the files, by their paths in the output directory. Raises `UsageError` for names that collide."""
    local_paths = {m.name: m.base_path if m.remote else str(Path(m.base_path).resolve()) for m in spec.models}
    shared = {MONITORING_CONFIG: monitoring_text(spec.monitoring_path)}
    if spec.batching is not None:
        shared[BATCHING_PARAMETERS] = spec.batching.to_text()
    files = {
        MODELS_CONFIG: message_text(model_server_config(spec, local_paths)),
        **shared,
        SCRIPT: serve_script(spec),
        "docker-compose.yml": yaml_text(compose_file(spec, local_paths)),
        PROMETHEUS_FILE: yaml_text(prometheus_file(spec)),
        "grafana_dashboard.json": json.dumps(grafana_dashboard(), indent=2, ensure_ascii=False) + "\n",
    }
    if spec.ssl is not None:
        files[SSL_CONFIG] = ssl_text(spec.ssl)
    in_cluster = message_text(model_server_config(spec, kubernetes.cluster_base_paths(spec)))
    files |= _cluster_files(spec, {MODELS_CONFIG: in_cluster, **shared})
    return files | _kserve_files(spec)


def _kserve_files(spec: ServingSpec) -> dict[str, str]:
    named: dict[str, ServedModel] = {}
    for model in spec.models:
        other = named.setdefault(service_name(model), model)
        if other is not model:
            raise UsageError(
                f"models {other.name} and {model.name} have the same name {service_name(model)} on Kubernetes; "
                "rename one of them"
            )
    return {f"kserve/{name}.yaml": yaml_text(inference_service(spec, model)) for name, model in named.items()}


def _cluster_files(spec: ServingSpec, config: dict[str, str]) -> dict[str, str]:
    return {
        "kubernetes/config_map.yaml": yaml_text(kubernetes.config_map(spec, config)),
        "kubernetes/deployment.yaml": yaml_text(kubernetes.deployment(spec, config)),
        "kubernetes/service.yaml": yaml_text(*kubernetes.services(spec)),
        "kubernetes/autoscaler.yaml": yaml_text(kubernetes.autoscaler(spec)),
        "kubernetes/disruption_budget.yaml": yaml_text(kubernetes.disruption_budget(spec)),
    }


class _Dumper(yaml.SafeDumper):
    """Lines of text as they are, and no anchors for data that occurs twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's interface
        """No data is written as a reference to an earlier one."""
        return True


def _literal(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _literal)


def yaml_text(*documents: dict[str, Any]) -> str:
    """One document after the other."""
    text: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=_NO_FOLDING, allow_unicode=True)
    return text
