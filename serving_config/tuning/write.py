"""The parameters as a file."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from serving_config.errors import JobError

if TYPE_CHECKING:
    from pathlib import Path

    from maf_serving.batching import BatchingParameters


def write_parameters(path: Path, batching: BatchingParameters) -> None:
    """Writes batching_parameters.txt, whole or not at all. Raises `JobError` if the disk does not take it."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        unfinished.write_text(batching.to_text(), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise JobError(f"{path} cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
