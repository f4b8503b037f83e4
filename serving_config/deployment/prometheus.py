"""Where Prometheus finds the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving_config.spec import ServingSpec

PROMETHEUS_FILE = "prometheus.yml"
SERVICE = "tensorflow-serving"  # of docker-compose.yml


def prometheus_file(spec: ServingSpec) -> dict[str, Any]:
    """`prometheus.yml` for the server of docker-compose.yml. On Kubernetes the pods' annotations say the same."""
    return {
        "global": {"scrape_interval": "15s"},
        "scrape_configs": [
            {
                "job_name": SERVICE,
                "metrics_path": spec.monitoring_path,
                "static_configs": [{"targets": [f"{SERVICE}:{spec.rest_api_port}"]}],
            }
        ],
    }


def scrape_annotations(spec: ServingSpec) -> dict[str, str]:
    """Annotations of a pod that the usual scrape configurations of a cluster look for."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(spec.rest_api_port),
        "prometheus.io/path": spec.monitoring_path,
    }
