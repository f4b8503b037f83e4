"""The version directories of a model, as TF Serving finds them."""

from __future__ import annotations

from pathlib import Path

from maf_serving.errors import ContractError


def list_versions(model_base: str | Path) -> list[int]:
    """Version numbers under a model's base directory, ascending. Only plain integers count, as in TF Serving."""
    return [int(directory.name) for directory in _version_dirs(Path(model_base))]


def is_version(name: str) -> bool:
    """Whether a directory of that name is a version to TF Serving: decimal digits alone."""
    return name.isascii() and name.isdigit()


def find_version(model: str | Path) -> Path:
    """The version directory that `model` means: itself, or the newest version in it if it is a base directory.

    Raises `ContractError` if `model` does not exist or holds no version.
    """
    path = Path(model)
    if (path / "saved_model.pb").is_file():
        return path
    if not path.is_dir():
        raise ContractError(
            f"model {str(model)!r} does not exist; expected a version directory, or a directory of versions"
        )
    versions = _version_dirs(path)
    if not versions:
        raise ContractError(
            f"model {str(model)!r} holds no saved_model.pb and no version; expected directories 1, 2, ... in it"
        )
    return versions[-1]


def _version_dirs(base: Path) -> list[Path]:
    entries = base.iterdir() if base.is_dir() else []
    return sorted((e for e in entries if is_version(e.name) and e.is_dir()), key=lambda e: int(e.name))
