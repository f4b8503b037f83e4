"""The options of `python -m serving_config`, as a value and as command-line flags."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from maf_serving.batching import BatchingParameters
from maf_serving.flags import CommandParser, integers
from maf_serving.model_spec import VersionPolicy
from serving_config.errors import UsageError
from serving_config.spec import ClusterSpec, ServedModel, ServingSpec, TlsFiles, split_version

Action = Literal["write", "overwrite", "check"]

_DESCRIPTION = """Writes the configuration of TensorFlow Serving for exported models: models.config, monitoring.config,
a script that starts the server, docker-compose.yml, kubernetes/, kserve/, prometheus.yml, a Grafana dashboard.

  %(prog)s --model models/demo --model_name demo --output serving
  %(prog)s --model models/demo --model_name demo --version_policy specific=1,2 \\
      --version_labels stable=1,canary=2 --enable_batching --max_batch_size 64 --output serving
  %(prog)s --spec spec.yaml --output serving --check"""

_THREAD_FLAGS = ("intra_op_threads", "inter_op_threads")
_SPEC_FLAGS = ("port", "rest_api_port", "cores", *_THREAD_FLAGS, "config_poll_seconds", "image")
_BATCHING_FLAGS = ("max_batch_size", "batch_timeout_micros", "num_batch_threads", "max_enqueued_batches")
_CLUSTER_FLAGS = ("name", "namespace", "min_replicas", "max_replicas", "memory", "models_claim")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOptions:
    """What to write, and where.

    Attributes:
      output: directory of the files.
      action: `write` refuses files that are there, `overwrite` replaces them, `check` compares and writes none.
      spec: what the flags say; `None` if a file says it.
      spec_path: the file that says it.
    """

    output: Path
    action: Action = "write"
    spec: ServingSpec | None = None
    spec_path: Path | None = None


def parse_config(arguments: Sequence[str]) -> ConfigOptions:
    """The options that the flags give.

    Raises:
      UsageError: a flag is missing, unknown, or has no valid value.
      SystemExit: after printing the help that was asked for.
    """
    flags = _parser().parse_args(list(arguments))
    given = {name: value for name, value in vars(flags).items() if value is not None}
    spec_path = given.pop("spec", None)
    output, action = given.pop("output"), given.pop("action", "write")
    if spec_path is None:
        return ConfigOptions(output=output, action=action, spec=_spec(given))
    if given:
        raise UsageError(f"--spec {spec_path} says everything; --{next(iter(given))} belongs into the file")
    return ConfigOptions(output=output, action=action, spec_path=spec_path)


def _spec(given: dict[str, Any]) -> ServingSpec:
    return ServingSpec(
        models=_models(given),
        batching=_batching(given),
        ssl=_ssl(given),
        cluster=ClusterSpec(
            **{name: given[f"cluster_{name}"] for name in _CLUSTER_FLAGS if f"cluster_{name}" in given}
        ),
        **{name: given[name] for name in _SPEC_FLAGS if name in given},
    )


def _models(given: dict[str, Any]) -> tuple[ServedModel, ...]:
    bases, names = given.get("model", []), given.get("model_name", [])
    if len(bases) != len(names) or not bases:
        raise UsageError(
            f"--model came {len(bases)} and --model_name {len(names)} times; expected one of each for every "
            "model, or --spec FILE"
        )
    parts = [split_version(base) for base in bases]
    for base, (_, version) in zip(bases, parts, strict=True):
        if version is not None and "version_policy" in given:
            raise UsageError(
                f"--model {base} is one version, and --version_policy {given['version_policy']} came too; expected the "
                "directory that holds versions with it"
            )
    alone = [name for name in ("version_policy", "version_labels") if name in given]
    if alone and len(names) > 1:
        raise UsageError(f"--{alone[0]} with {len(names)} models does not say for which; expected --spec FILE")
    return tuple(
        ServedModel(
            name=name,
            base_path=base,
            version_policy=VersionPolicy.parse(given.get("version_policy", "latest"))
            if version is None
            else VersionPolicy(kind="specific", versions=(version,)),
            version_labels=given.get("version_labels", {}),
        )
        for name, (base, version) in zip(names, parts, strict=True)
    )


def _batching(given: dict[str, Any]) -> BatchingParameters | None:
    values = {name: given[name] for name in (*_BATCHING_FLAGS, "allowed_batch_sizes") if name in given}
    if "enable_batching" in given:
        return BatchingParameters(**values)
    if values:
        raise UsageError(f"--{next(iter(values))} has no effect without --enable_batching; expected both or neither")
    return None


def _ssl(given: dict[str, Any]) -> TlsFiles | None:
    values = {
        name: given[f"ssl_{name}"] for name in ("server_key", "server_cert", "custom_ca") if f"ssl_{name}" in given
    }
    if not values:
        return None
    if not {"server_key", "server_cert"} <= set(values):
        raise UsageError("of --ssl_server_key and --ssl_server_cert, one came; expected both")
    return TlsFiles(**values, client_verification=given.get("ssl_client_verification", "none"))


def _labels(text: str) -> dict[str, int]:
    pairs = [part.partition("=") for part in text.split(",")]
    labels = {}
    for label, equals, version in pairs:
        if not equals or not version.isdecimal():
            raise argparse.ArgumentTypeError(f"{text!r} is no list of labels; expected such as stable=1,canary=2")
        if label in labels:
            raise argparse.ArgumentTypeError(f"{text!r} has the label {label} twice")
        labels[label] = int(version)
    return labels


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser("serving_config", _DESCRIPTION)
    add = parser.add_argument
    add("--output", required=True, type=Path, metavar="DIR", help="directory to write")
    how = parser.add_mutually_exclusive_group()
    for action, text in (
        ("overwrite", "replace the files that are there; rollouts since then are lost"),
        ("check", "write nothing; exit status 1 and a list if a file would differ"),
    ):
        how.add_argument(f"--{action}", dest="action", action="store_const", const=action, help=text)
    model = parser.add_argument_group("models (or a file that says it all)").add_argument
    model("--spec", type=Path, metavar="FILE", help="YAML or JSON; see examples/serving/spec.yaml")
    model(
        "--model",
        action="append",
        metavar="DIR",
        help="directory of a model's versions, or gs://, s3://; or one version",
    )
    model("--model_name", action="append", metavar="NAME", help="the name of the model in requests")
    model("--version_policy", metavar="POLICY", help="latest (the default), latest=N, all, specific=N,N")
    model("--version_labels", type=_labels, metavar="LABEL=N,...", help="such as stable=1,canary=2")
    server = parser.add_argument_group("server").add_argument
    server("--port", type=int, metavar="N", help="of gRPC; default: 8500")
    server("--rest_api_port", type=int, metavar="N", help="of REST and metrics; default: 8501")
    server("--cores", type=int, metavar="N", help="that the server may use; default: 2")
    for name in _THREAD_FLAGS:
        server(f"--{name}", type=int, metavar="N", help="inside TensorFlow; default: --cores (see serving_config.tune)")
    server("--config_poll_seconds", type=int, metavar="N", help="between looks at models.config; default: 30")
    server("--image", metavar="IMAGE", help="of the container")
    batching = parser.add_argument_group("batching").add_argument
    batching("--enable_batching", action="store_const", const="all", help="of all the models")
    for name in _BATCHING_FLAGS:
        batching(f"--{name}", type=int, metavar="N")
    batching("--allowed_batch_sizes", type=integers, metavar="N,N", help="padded to; the last is max_batch_size")
    ssl = parser.add_argument_group("TLS of gRPC").add_argument
    for name in ("server_key", "server_cert", "custom_ca"):
        ssl(f"--ssl_{name}", type=Path, metavar="PEM")
    ssl("--ssl_client_verification", choices=("none", "required"), help="default: none")
    cluster = parser.add_argument_group("Kubernetes").add_argument
    for name in _CLUSTER_FLAGS:
        kind = int if name.endswith("replicas") else str
        cluster(f"--cluster_{name}", type=kind, metavar="N" if kind is int else name.upper())
    parser.add_old_names({"--model_base": "--model", "--model_base_path": "--model"})
    return parser
