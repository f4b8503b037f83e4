"""Where Prometheus finds TensorFlow Serving's metrics, and a Grafana dashboard of them.

The server names its metrics with a colon first: `:tensorflow:serving:request_count` has the labels `model_name` and
`status`; `:tensorflow:serving:request_latency` is a histogram in microseconds by `model_name`, `API` and `entrypoint`;
`:tensorflow:serving:runtime_latency` is the part of it that TensorFlow takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving_config.spec import ServingSpec

_REQUESTS = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency"
_RUNTIME = ":tensorflow:serving:runtime_latency"
_MODELS = 'model_name=~"$model"'
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 12, 8
PROMETHEUS_FILE = "prometheus.yml"
SERVICE = "tensorflow-serving"  # of docker-compose.yml


def grafana_dashboard() -> dict[str, Any]:
    """The dashboard as data, to be imported; it asks for the data source and shows every model."""
    panels = [
        _panel("Requests per second", "reqps", {"{{model_name}}": _rate(_REQUESTS, "model_name")}),
        _panel("Requests in error", "percentunit", {"{{model_name}}": _error_ratio()}),
        _panel("Errors per second by status", "reqps", {"{{model_name}} {{status}}": _errors("model_name, status")}),
        _panel("Latency", "µs", {f"{{{{model_name}}}} p{q}": _quantile(_LATENCY, q) for q in (50, 95, 99)}),
        _panel(
            "Latency inside TensorFlow", "µs", {f"{{{{model_name}}}} p{q}": _quantile(_RUNTIME, q) for q in (50, 99)}
        ),
        _panel("Requests per second by API", "reqps", {"{{API}} {{entrypoint}}": _by_api()}),
    ]
    for number, panel in enumerate(panels):
        panel["id"] = number + 1
        panel["gridPos"] = {
            "x": _WIDTH * (number % 2),
            "y": _HEIGHT * (number // 2),
            "w": _WIDTH,
            "h": _HEIGHT,
        }
    return {
        "uid": "tensorflow-serving",
        "title": "TensorFlow Serving",
        "tags": ["tensorflow-serving"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource_variable(), _model_variable()]},
        "panels": panels,
    }


def _panel(title: str, unit: str, queries: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": title,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _DATASOURCE, "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(queries.items())
        ],
    }


def _rate(metric: str, by: str, selector: str = _MODELS) -> str:
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def _errors(by: str) -> str:
    return _rate(_REQUESTS, by, f'{_MODELS}, status!="OK"')


def _error_ratio() -> str:
    return f"({_errors('model_name')} or 0 * {_rate(_REQUESTS, 'model_name')}) / {_rate(_REQUESTS, 'model_name')}"


def _quantile(metric: str, percent: int) -> str:
    return f"histogram_quantile({percent / 100}, {_rate(f'{metric}_bucket', 'model_name, le')})"


def _by_api() -> str:
    return _rate(f"{_LATENCY}_count", "API, entrypoint")


def _datasource_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _model_variable() -> dict[str, Any]:
    return {
        "name": "model",
        "label": "Model",
        "type": "query",
        "datasource": _DATASOURCE,
        "query": f"label_values({_REQUESTS}, model_name)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }


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
