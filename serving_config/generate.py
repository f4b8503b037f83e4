"""From options and a spec's file to the generated files, and the lines that say what was done.

A spec is held against what is on disk under its base paths. The directory of files is written all or not at all, never
over files that somebody did not mean to lose.
"""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from google.protobuf.message import DecodeError

from export.contract import CONTRACT_PATH, ContractError, find_version, list_versions, read_contract
from maf_serving.messages import message_class
from maf_serving.model_spec import VersionPolicy
from maf_serving.strict_json import Reader, read_value
from serving_config.configuration import build_files
from serving_config.errors import JobError, UsageError
from serving_config.server_files import MODELS_CONFIG, SCRIPT, SSL_CONFIG
from serving_config.spec import ServedModel, ServingSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving_config.options import ConfigOptions

ExistingOutput = Literal["refuse", "replace"]
_MODES = {SCRIPT: 0o755, SSL_CONFIG: 0o600}  # a program, and a file with a private key
_INTERNAL = "__saved_model"  # signatures that TensorFlow adds for itself


def generate(options: ConfigOptions) -> str:
    """Writes or checks the files of a spec, and returns what to print.

    Raises:
      UsageError: the spec does not fit itself or the models, or the files are there already.
      JobError: a check found differences, or the disk failed.
    """
    spec = _spec(options)
    models = check_models(spec)
    files = build_files(spec)
    if options.action == "check":
        differing = differing_files(files, options.output)
        if differing:
            raise JobError(
                f"{len(differing)} of {len(files)} files in {options.output} are not what would be written: "
                f"{', '.join(differing)}; run again with --overwrite instead of --check"
            )
        return f"{options.output}: all {len(files)} files are as they would be written"
    write_files(files, options.output, existing="replace" if options.action == "overwrite" else "refuse")
    lines = [*models, f"{options.output}: {len(files)} files", *(f"  {path}" for path in files)]
    start = f"start it: {options.output}/serve.sh (tensorflow_model_server), or docker compose up in {options.output}"
    return "\n".join([*lines, start])


def _spec(options: ConfigOptions) -> ServingSpec:
    if options.spec is not None:
        return options.spec
    if options.spec_path is None:
        raise UsageError("there is neither a spec nor a file with one")
    return read_spec(options.spec_path)


def write_files(files: Mapping[str, str], output: Path, *, existing: ExistingOutput) -> None:
    """Writes the files. A directory that exists keeps what else is in it; its models.config is replaced last.

    Raises:
      UsageError: files are there already and `existing` is `refuse`, or the place cannot be written to.
      JobError: the disk failed on the way; nothing has been replaced.
    """
    there = [path for path in files if (output / path).exists()]
    if there and existing == "refuse":
        raise UsageError(f"{output} has {_few(there)} already; name another directory, or add --overwrite")
    staging = output.with_name(f".{output.name}.staging-{uuid.uuid4().hex[:8]}")
    try:
        _write(files, staging)
        if output.exists():
            _replace(files, staging, output)
        else:
            staging.rename(output)
    except OSError as error:
        kind = JobError if staging.exists() else UsageError
        where = f": {error.filename}" if error.filename is not None else ""
        raise kind(f"{output} cannot be written: {error.strerror}{where}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def differing_files(files: Mapping[str, str], output: Path) -> list[str]:
    """Paths whose text is missing in the directory, or another."""
    return [path for path, text in files.items() if _read(output / path) != text]


def _write(files: Mapping[str, str], staging: Path) -> None:
    staging.mkdir(parents=True)
    for path, text in files.items():
        target = staging / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=_MODES.get(path, 0o644))
        target.write_text(text, encoding="utf-8")


def _replace(files: Mapping[str, str], staging: Path, output: Path) -> None:
    """Renames one file after the other: a running server sees old files or new ones, never half of one."""
    for path in sorted(files, key=lambda path: path == MODELS_CONFIG):
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).replace(output / path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _few(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


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


def read_spec(path: Path) -> ServingSpec:
    """The spec in a file; JSON is YAML too. Relative paths in it are relative to the file.

    Raises:
      UsageError: the file cannot be read, or a key is unknown, missing or of another type.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"spec {path} cannot be read: {' '.join(str(error).split())}") from error
    try:
        spec: ServingSpec = read_value(ServingSpec, data, "spec", error=UsageError, readers=_readers(path.parent))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return dataclasses.replace(spec, models=tuple(_rooted(model, path.parent) for model in spec.models))


def _rooted(model: ServedModel, root: Path) -> ServedModel:
    return model if model.remote else dataclasses.replace(model, base_path=str(root / model.base_path))


def _readers(root: Path) -> dict[Any, Reader]:
    """What reads paths relative to `root`, and version policies, which are written as on the command line too."""

    def path(value: Any, where: str) -> Path:
        return root / str(read_value(str, value, where, error=UsageError))

    def policy(value: Any, where: str) -> Any:
        if isinstance(value, dict):
            return read_value(VersionPolicy, value, where, error=UsageError)
        return VersionPolicy.parse(str(value))

    return {Path: path, VersionPolicy: policy}
