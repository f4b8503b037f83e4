"""The versions in a model's base directory."""

from __future__ import annotations

from pathlib import Path

_MOST = 2**63 - 1


def found_versions(base_path: str) -> dict[int, Path]:
    """Directories whose names are numbers, by number; `001` is version 1. Everything else is passed over.

    Raises:
      OSError: if the base directory cannot be listed.
    """
    found: dict[int, Path] = {}
    for path in sorted(Path(base_path).iterdir()):
        if path.name.isascii() and path.name.isdigit() and int(path.name) <= _MOST and path.is_dir():
            found[int(path.name)] = path
    return found
