"""What is on disk under the base paths of a spec, held against what the spec says of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from export.contract import CONTRACT_PATH, ContractError, find_version, list_versions, read_contract
from maf_serving.messages import message_class
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from serving_config.spec import ServedModel, ServingSpec

_INTERNAL = "__saved_model"  # signatures that TensorFlow adds for itself


def check_models(spec: ServingSpec) -> list[str]:
    """A line about each model, to show. Remote base paths cannot be looked into: what the spec says is taken.

    Raises:
      UsageError: a directory, a version or a label's version is not there, or a model cannot be batched.
    """
    return [_check_remote(model) if model.remote else _check_local(model, spec) for model in spec.models]


def _check_remote(model: ServedModel) -> str:
    policy = model.version_policy
    for label, version in model.version_labels.items():
        if policy.kind == "specific" and version not in policy.versions:
            raise UsageError(_not_loaded(model, label, version, sorted(policy.versions)))
    if model.base_path.startswith("gs://"):
        return f"{model.name}: {model.base_path} (not looked into)"
    return (
        f"{model.name}: {model.base_path} (not looked into; official servers since 2.7 read gs:// and mounted "
        "directories alone, and would wait for it for ever: KServe fetches it, or mount it)"
    )


def _check_local(model: ServedModel, spec: ServingSpec) -> str:
    base = Path(model.base_path)
    if not base.is_dir():
        raise UsageError(
            f"base path {model.base_path!r} of model {model.name} is no directory; expected versions in it"
        )
    if (base / "saved_model.pb").is_file():
        raise UsageError(
            f"base path {model.base_path!r} of model {model.name} is a version; expected the directory it is in, "
            f"{str(base.parent)!r}"
        )
    on_disk = list_versions(base)
    if not on_disk:
        raise UsageError(f"base path {model.base_path!r} of model {model.name} holds no version; expected 1, 2, ...")
    policy = model.version_policy
    missing = [version for version in policy.versions if version not in on_disk]
    if missing:
        raise UsageError(
            f"version(s) {_list(missing)} of model {model.name} are not in {model.base_path!r}; "
            f"there are {_list(on_disk)}"
        )
    loaded = sorted(policy.loaded(on_disk))
    for label, version in model.version_labels.items():
        if version not in loaded:
            raise UsageError(_not_loaded(model, label, version, loaded))
    for version in loaded:
        _check_version(model, base / str(version), spec)
    return f"{model.name}: {model.base_path} version(s) {_list(loaded)}{_describe(base, loaded[-1])}"


def _not_loaded(model: ServedModel, label: str, version: int, loaded: list[int]) -> str:
    return (
        f"label {label} of model {model.name} is on version {version}, which is not loaded; the version policy "
        f"loads {_list(loaded) or 'none'}"
    )


def _check_version(model: ServedModel, version_dir: Path, spec: ServingSpec) -> None:
    if (version_dir / CONTRACT_PATH).is_file():
        try:
            read_contract(version_dir)
        except ContractError as error:
            raise UsageError(f"model {model.name}: {error}") from error
    if spec.batching is not None:
        for name, tensor in _unbatched(version_dir):
            raise UsageError(
                f"model {model.name} cannot be batched: {tensor} of signature {name} in {str(version_dir)!r} has no "
                "rows as its first dimension; leave batching out, or export the model without that signature"
            )


def _unbatched(version_dir: Path) -> list[tuple[str, str]]:
    """Signatures, and their inputs or outputs, that TensorFlow Serving's batching would fail on."""
    path = version_dir / "saved_model.pb"
    try:
        saved_model = message_class("SavedModel").FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}; expected a SavedModel") from error
    return [
        (name, f"{kind} {key}")
        for graph in saved_model.meta_graphs
        for name, signature in sorted(graph.signature_def.items())
        if not name.startswith(_INTERNAL)
        for kind, infos in (("input", signature.inputs), ("output", signature.outputs))
        for key, info in sorted(infos.items())
        if not _has_rows(info.tensor_shape)
    ]


def _has_rows(shape: Any) -> bool:
    return bool(shape.unknown_rank or (len(shape.dim) and shape.dim[0].size < 0))


def _describe(base: Path, version: int) -> str:
    try:
        contract = read_contract(find_version(base / str(version)))
    except ContractError:
        return " (without a contract)"
    return f", x {', '.join(contract.event_columns)} | {', '.join(contract.conditional_columns) or 'nothing'}"


def _list(versions: list[int]) -> str:
    return ", ".join(map(str, versions))
