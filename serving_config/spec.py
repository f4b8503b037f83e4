"""What is to be served, and how: the one description from which every configuration file is made."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from export.contract import is_version
from maf_serving.batching import BatchingParameters
from maf_serving.model_spec import VersionPolicy
from serving_config.errors import UsageError

DEFAULT_IMAGE = "tensorflow/serving:2.19.1"

# What stands between /v1/models/ and the next / or : of a URL, without what a URL would have to escape.
_NAME = re.compile(r"[A-Za-z0-9_.~-]+")

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://.")

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|[kMGTP]i?)?")


def split_version(path: str) -> tuple[str, int | None]:
    """A version directory on this machine as its base directory and its number; any other path as it is, and `None`.

    So `models/demo/3` becomes `("models/demo", 3)` if it holds a SavedModel, and `models/demo` stays.

    Raises:
      UsageError: it holds a SavedModel, but its name is no version number, which servers ask for.
    """
    if "://" in path or not (Path(path) / "saved_model.pb").is_file():
        return path, None
    directory = Path(path) if Path(path).name not in ("", "..") else Path(os.path.abspath(path))  # noqa: PTH100
    if not is_version(directory.name):
        raise UsageError(
            f"--model is {path}, which holds a saved_model.pb; expected a version, whose directory has a number for "
            f"its name, as in {directory}/1, or the directory that holds versions"
        )
    return str(directory.parent), int(directory.name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model.

        >>> ServedModel(name="sales", base_path="models/sales", version_labels={"stable": 3}).version_policy
        VersionPolicy(kind='latest', num_versions=1, versions=())

    Attributes:
      name: how requests name it.
      base_path: directory of its versions, on this machine or remote (`gs://...`, `s3://...`).
      version_policy: which versions are loaded.
      version_labels: labels such as `stable` and `canary`, and their versions.
    """

    name: str
    base_path: str
    version_policy: VersionPolicy = dataclasses.field(default_factory=VersionPolicy)
    version_labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("model name", self.name)
        if not self.base_path.strip():
            raise UsageError(f"the base path of model {self.name} is empty; expected the directory of its versions")
        for label in self.version_labels:
            check_name(f"version label of model {self.name}", label)

    @property
    def remote(self) -> bool:
        """Whether the base path has a scheme, so that it cannot be looked into from here."""
        return _SCHEME.match(self.base_path) is not None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of a server that speaks TLS over gRPC (the REST port never does).

    Attributes:
      server_key: private key.
      server_cert: certificate chain.
      custom_ca: whom to trust as clients; `None` for the system's list.
      client_verification: whether clients must show a certificate.
    """

    server_key: Path
    server_cert: Path
    custom_ca: Path | None = None
    client_verification: Literal["none", "required"] = "none"

    def __post_init__(self) -> None:
        for name in ("server_key", "server_cert", "custom_ca"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise UsageError(f"ssl {name} {str(path)!r} is no file; expected a PEM file")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """How it runs on Kubernetes.

    Attributes:
      name: of the Deployment, the Service and the rest.
      namespace: where they are; `None` leaves it to kubectl.
      min_replicas: pods at least.
      max_replicas: pods at most.
      target_cpu_percent: load at which pods are added, percent of the cores.
      memory: of one pod, in Kubernetes' spelling.
      models_claim: PersistentVolumeClaim that holds the models with local base paths, each in a directory of its name.
    """

    name: str = "tensorflow-serving"
    namespace: str | None = None
    min_replicas: int = 2
    max_replicas: int = 6
    target_cpu_percent: int = 70
    memory: str = "2Gi"
    models_claim: str = "models"

    def __post_init__(self) -> None:
        for key in ("name", "namespace", "models_claim"):
            value = getattr(self, key)
            if value is not None and not _DNS_LABEL.fullmatch(value):
                raise UsageError(f"cluster {key} is {value!r}; expected lower-case letters, digits and -, at most 63")
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise UsageError(f"replicas are {self.min_replicas} to {self.max_replicas}; expected 1 <= least <= most")
        if not 1 <= self.target_cpu_percent <= 100:
            raise UsageError(f"cluster target_cpu_percent is {self.target_cpu_percent}; expected 1 to 100")
        if not _QUANTITY.fullmatch(self.memory):
            raise UsageError(f"cluster memory is {self.memory!r}; expected such as 2Gi or 512Mi")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServingSpec:
    """A server and its models.

        >>> spec = ServingSpec(models=(ServedModel(name="sales", base_path="models/sales"),), cores=4)
        >>> list(build_files(spec))[:3]
        ['models.config', 'monitoring.config', 'serve.sh']

    Attributes:
      models: at least one, with names that differ.
      port: of gRPC.
      rest_api_port: of REST and of the metrics.
      cores: that the server may use; threads and Kubernetes resources follow from it.
      intra_op_threads: of one request inside TensorFlow; `None` for the cores.
      inter_op_threads: requests side by side inside TensorFlow; `None` for the cores.
      batching: `None` for none.
      ssl: `None` for none.
      monitoring_path: of the Prometheus metrics.
      config_poll_seconds: how often the server looks whether models.config has changed.
      image: of the container.
      cluster: Kubernetes.
    """

    models: tuple[ServedModel, ...]
    port: int = 8500
    rest_api_port: int = 8501
    cores: int = 2
    intra_op_threads: int | None = None
    inter_op_threads: int | None = None
    batching: BatchingParameters | None = None
    ssl: TlsFiles | None = None
    monitoring_path: str = "/monitoring/prometheus/metrics"
    config_poll_seconds: int = 30
    image: str = DEFAULT_IMAGE
    cluster: ClusterSpec = dataclasses.field(default_factory=ClusterSpec)

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("there is no model; expected at least one")
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"model {name} is listed {names.count(name)} times; expected every name once")
        if self.port == self.rest_api_port or not all(0 < port < 2**16 for port in (self.port, self.rest_api_port)):
            raise UsageError(
                f"port is {self.port} and rest_api_port {self.rest_api_port}; expected two of 1 to 65535 that differ"
            )
        if self.cores < 1 or self.config_poll_seconds < 1:
            raise UsageError(
                f"cores is {self.cores} and config_poll_seconds {self.config_poll_seconds}; expected at least 1"
            )
        if any(threads is not None and threads < 1 for threads in (self.intra_op_threads, self.inter_op_threads)):
            raise UsageError(
                f"intra_op_threads is {self.intra_op_threads} and inter_op_threads {self.inter_op_threads}; "
                "expected at least 1, or none for the cores"
            )
        if not self.monitoring_path.startswith("/"):
            raise UsageError(f"monitoring_path is {self.monitoring_path!r}; expected such as /metrics")
        if not self.image or any(character.isspace() for character in self.image):
            raise UsageError(f"image is {self.image!r}; expected such as {DEFAULT_IMAGE}")


def check_name(what: str, name: str) -> None:
    """Raises `UsageError` unless requests can name it in a URL, which is how TensorFlow Serving finds it."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{what} is {name!r}; expected letters, digits, '_', '.', '~' and '-', at least one")
