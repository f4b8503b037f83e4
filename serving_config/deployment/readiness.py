"""Probes that look at the models and not only at the port.

`GET /v1/models/M` answers 200 in every state, for a version that failed to load too. `GET /v1/models/M/metadata` needs
a version that is available and answers 404 otherwise, so its status says what a probe wants to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving_config.spec import ServingSpec

# The official image has bash, and neither curl nor wget. Arguments: the port, then the paths.
_SCRIPT = (
    'port=$1; shift; for path; do exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1; '
    "printf 'GET %s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' \"$path\" >&3; "
    'read -r _ status _ <&3; exec 3<&-; [ "$status" = 200 ] || exit 1; done'
)


def model_paths(spec: ServingSpec) -> list[str]:
    """What to ask for each model."""
    return [f"/v1/models/{model.name}/metadata" for model in spec.models]


def probe_command(spec: ServingSpec) -> list[str]:
    """A command that succeeds in the server's container if every model has a version that is available."""
    return ["/bin/bash", "-c", _SCRIPT, "probe", str(spec.rest_api_port), *model_paths(spec)]


def probe(spec: ServingSpec) -> dict[str, Any]:
    """The action of a Kubernetes probe: a plain request for one model, the command for several."""
    paths = model_paths(spec)
    if len(paths) == 1:
        return {"httpGet": {"path": paths[0], "port": "rest"}}
    return {"exec": {"command": probe_command(spec)}}
