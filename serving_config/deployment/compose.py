"""`docker-compose.yml`: the server on this machine in its official image, and Prometheus beside it if wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_config.deployment.kubernetes import probe_command
from serving_config.deployment.monitoring import PROMETHEUS_FILE, SERVICE
from serving_config.server_files import server_flags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving_config.spec import ServingSpec

CONFIG_DIR = "/etc/tensorflow-serving"


def compose_file(spec: ServingSpec, base_paths: Mapping[str, str]) -> dict[str, Any]:
    """The file as data.

    Local base paths are mounted where they are, so that one models.config does for the container and for a server
    without one. The directory of configuration files is mounted and not each file: a file that is replaced by
    renaming would stay the old one in the container.
    """
    local = sorted({base_paths[model.name] for model in spec.models if not model.remote})
    return {
        "services": {
            SERVICE: {
                "image": spec.image,
                "entrypoint": ["/usr/bin/tensorflow_model_server"],
                "command": server_flags(spec, CONFIG_DIR),
                # Published on this machine alone; take the address away to serve others.
                "ports": [f"127.0.0.1:{port}:{port}" for port in (spec.port, spec.rest_api_port)],
                "volumes": [_mount(".", CONFIG_DIR), *(_mount(path, path) for path in local)],
                "read_only": True,
                "tmpfs": ["/tmp"],  # noqa: S108  # the container's
                "security_opt": ["no-new-privileges:true"],
                "restart": "unless-stopped",
                "healthcheck": {
                    "test": ["CMD", *(part.replace("$", "$$") for part in probe_command(spec))],
                    "interval": "10s",
                    "timeout": "5s",
                    "start_period": "60s",
                    "retries": 3,
                },
            },
            "prometheus": {
                "image": "prom/prometheus:v3.5.0",
                "profiles": ["monitoring"],
                "ports": ["127.0.0.1:9090:9090"],
                "volumes": [_mount(f"./{PROMETHEUS_FILE}", "/etc/prometheus/prometheus.yml")],
                "depends_on": [SERVICE],
            },
        }
    }


def _mount(source: str, target: str) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": source,
        "target": target,
        "read_only": True,
        "bind": {"create_host_path": False},
    }
