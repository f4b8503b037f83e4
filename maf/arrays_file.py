"""Named arrays in one file that is either whole or not there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maf.errors import DamagedRunError


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an `.npz` of plain arrays (no pickle) and then puts it in place of `path`."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What `write_arrays` wrote. Raises `DamagedRunError` if it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise DamagedRunError(f"{path} cannot be read ({error}); expected arrays that a training run wrote") from error


def variables_to_arrays(variables: Sequence[Any], prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    """Values of `variables`, named by their place: variable names differ between processes, Keras counts them up."""
    return {f"{prefix}/{i:03d}": variable.numpy() for i, variable in enumerate(variables)}


def arrays_to_variables(arrays: Mapping[str, np.ndarray[Any, Any]], variables: Sequence[Any], prefix: str) -> None:
    """Assigns what `variables_to_arrays` made of the same variables. `DamagedRunError` if they are others."""
    stored = [array for name, array in arrays.items() if name.startswith(f"{prefix}/")]
    came, expected = [array.shape for array in stored], [tuple(variable.shape) for variable in variables]
    if came != expected:
        raise DamagedRunError(f"the stored {prefix} has arrays of shapes {came}; the configured one expects {expected}")
    for variable, value in zip(variables, stored, strict=True):
        variable.assign(value)
