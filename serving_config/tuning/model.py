"""The version to measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.contract import ContractError, find_version
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def find_model(model: Path) -> Path:
    """The version directory that `model` means. Raises `UsageError` if it means none."""
    try:
        return find_version(model)
    except ContractError as error:
        raise UsageError(str(error)) from error
