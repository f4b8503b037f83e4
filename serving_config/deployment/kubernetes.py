"""Kubernetes manifests: what runs the server on a cluster, by a Deployment or by KServe.

Probes look at the models and not only at the port. `GET /v1/models/M` answers 200 in every state, for a version that
failed to load too. `GET /v1/models/M/metadata` needs a version that is available and answers 404 otherwise, so its
status says what a probe wants to know.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from serving_config.deployment.monitoring import scrape_annotations
from serving_config.server_files import SSL_CONFIG, server_flags, thread_flags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving_config.spec import ServedModel, ServingSpec

CONFIG_DIR = "/etc/tensorflow-serving"
SSL_DIR = "/etc/tensorflow-serving-ssl"
MODELS_DIR = "/models"
LOAD_SECONDS = 600  # that loading may take before a pod is given up
_USER = 1000
_DRAIN_SECONDS = 15  # from the end of new traffic to the end of the server
# The official image has bash, and neither curl nor wget. Arguments: the port, then the paths.
_SCRIPT = (
    'port=$1; shift; for path; do exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1; '
    "printf 'GET %s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' \"$path\" >&3; "
    'read -r _ status _ <&3; exec 3<&-; [ "$status" = 200 ] || exit 1; done'
)


def cluster_base_paths(spec: ServingSpec) -> dict[str, str]:
    """Where a pod sees each model: remote ones where they are, the others on the volume claim."""
    return {model.name: model.base_path if model.remote else f"{MODELS_DIR}/{model.name}" for model in spec.models}


def config_map(spec: ServingSpec, files: Mapping[str, str]) -> dict[str, Any]:
    """The server's files, by name."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(spec, "-config"), "data": dict(files)}


def deployment(spec: ServingSpec, files: Mapping[str, str]) -> dict[str, Any]:
    """Pods that are replaced one after the other, and never before the next one is ready."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(spec),
        "spec": {
            "selector": {"matchLabels": _labels(spec)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "progressDeadlineSeconds": LOAD_SECONDS + 60,
            "template": {
                "metadata": {
                    "labels": _labels(spec),
                    "annotations": {**scrape_annotations(spec), "maf-serving/config": _checksum(files)},
                },
                "spec": pod(spec),
            },
        },
    }


def services(spec: ServingSpec) -> list[dict[str, Any]]:
    """A service, and one without an address of its own: gRPC clients balance over it with `dns:///`.

    A gRPC channel stays with the pod it has reached; behind one address a client would use a single pod.
    """
    return [_service(spec, "", {}), _service(spec, "-headless", {"clusterIP": "None"})]


def autoscaler(spec: ServingSpec) -> dict[str, Any]:
    """More pods when the processors are busy."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(spec),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": spec.cluster.name},
            "minReplicas": spec.cluster.min_replicas,
            "maxReplicas": spec.cluster.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": spec.cluster.target_cpu_percent},
                    },
                }
            ],
        },
    }


def disruption_budget(spec: ServingSpec) -> dict[str, Any]:
    """One pod at a time may be taken away."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(spec),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _labels(spec)}},
    }


def _service(spec: ServingSpec, suffix: str, more: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(spec, suffix),
        "spec": {
            **more,
            "selector": _labels(spec),
            "ports": [
                {"name": "grpc", "port": spec.port, "targetPort": "grpc", "appProtocol": _grpc_protocol(spec)},
                {"name": "rest", "port": spec.rest_api_port, "targetPort": "rest", "appProtocol": "http"},
            ],
        },
    }


def _grpc_protocol(spec: ServingSpec) -> str:
    """What a proxy may take the port for: HTTP/2 in clear, or a connection that it cannot look into."""
    return "kubernetes.io/h2c" if spec.ssl is None else "https"


def _metadata(spec: ServingSpec, suffix: str = "") -> dict[str, Any]:
    metadata = {"name": f"{spec.cluster.name}{suffix}", "labels": _labels(spec)}
    if spec.cluster.namespace is not None:
        metadata["namespace"] = spec.cluster.namespace
    return metadata


def _labels(spec: ServingSpec) -> dict[str, str]:
    return {"app.kubernetes.io/name": "tensorflow-serving", "app.kubernetes.io/instance": spec.cluster.name}


def _checksum(files: Mapping[str, str]) -> str:
    """Changes with the files that a running server does not read again, and so replaces the pods."""
    watched = {name: text for name, text in files.items() if name != "models.config"}
    return hashlib.sha256(repr(sorted(watched.items())).encode()).hexdigest()[:16]


def pod(spec: ServingSpec) -> dict[str, Any]:
    """The specification of the pod."""
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": f"{spec.cluster.name}-config"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the container's
    ]
    if not all(model.remote for model in spec.models):
        claim = {"claimName": spec.cluster.models_claim, "readOnly": True}
        volumes.append({"name": "models", "persistentVolumeClaim": claim})
        mounts.append({"name": "models", "mountPath": MODELS_DIR, "readOnly": True})
    if spec.ssl is not None:  # the keys are no matter for a ConfigMap, nor for a file of manifests
        volumes.append({"name": "ssl", "secret": {"secretName": f"{spec.cluster.name}-ssl"}})
        mounts.append({"name": "ssl", "mountPath": SSL_DIR, "readOnly": True})
    return {
        "automountServiceAccountToken": any(model.remote for model in spec.models),
        "securityContext": {"fsGroup": _USER},
        "terminationGracePeriodSeconds": _DRAIN_SECONDS + 30,
        "containers": [
            {
                "name": "tensorflow-serving",
                "image": spec.image,
                "command": ["/usr/bin/tensorflow_model_server"],
                "args": _arguments(spec),
                "ports": [
                    {"name": "grpc", "containerPort": spec.port},
                    {"name": "rest", "containerPort": spec.rest_api_port},
                ],
                "startupProbe": {**probe(spec), "periodSeconds": 5, "failureThreshold": LOAD_SECONDS // 5},
                "readinessProbe": {**probe(spec), "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
                # A model that fails to load is not mended by a restart, a server that hangs is.
                "livenessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 10, "failureThreshold": 6},
                # Traffic ends some time after a pod has been told to: until then it answers.
                "lifecycle": {"preStop": {"exec": {"command": ["/bin/sleep", str(_DRAIN_SECONDS)]}}},
                "resources": resources(spec),
                "securityContext": _container_security(),
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }


def _arguments(spec: ServingSpec) -> list[str]:
    prefix = f"--ssl_config_file={CONFIG_DIR}/"
    return [
        f"--ssl_config_file={SSL_DIR}/{SSL_CONFIG}" if flag.startswith(prefix) else flag
        for flag in server_flags(spec, CONFIG_DIR)
    ]


def resources(spec: ServingSpec) -> dict[str, Any]:
    """All the cores are asked for, and memory is bounded; processor time is not, since throttling costs latency."""
    memory = spec.cluster.memory
    return {"requests": {"cpu": str(spec.cores), "memory": memory}, "limits": {"memory": memory}}


def _container_security() -> dict[str, Any]:
    """Nothing that serving does not need."""
    return {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


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


def service_name(model: ServedModel) -> str:
    """The model's name as Kubernetes allows it; KServe serves the model under this name."""
    return re.sub(r"[^a-z0-9]+", "-", model.name.lower()).strip("-")[:63].rstrip("-") or "model"


def inference_service(spec: ServingSpec, model: ServedModel) -> dict[str, Any]:
    """The service as data. KServe's runtime serves the newest version in the storage, without labels."""
    metadata: dict[str, Any] = {"name": service_name(model)}
    if spec.cluster.namespace is not None:
        metadata["namespace"] = spec.cluster.namespace
    storage = model.base_path if model.remote else f"pvc://{spec.cluster.models_claim}/{model.name}"
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {
            "predictor": {
                "minReplicas": spec.cluster.min_replicas,
                "maxReplicas": spec.cluster.max_replicas,
                "model": {
                    "modelFormat": {"name": "tensorflow", "version": "2"},
                    "protocolVersion": "v1",
                    "storageUri": storage,
                    "args": [f"--{name}={value}" for name, value in thread_flags(spec).items()],
                    "resources": _resources(spec),
                },
            }
        },
    }


def _resources(spec: ServingSpec) -> dict[str, Any]:
    """As on Kubernetes, with a limit of the cores: that of KServe's own runtime, 1, would be below the request."""
    asked = resources(spec)
    return {**asked, "limits": {"cpu": str(spec.cores), **asked["limits"]}}
