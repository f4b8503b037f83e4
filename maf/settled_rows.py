"""What split rows turn out to hold once all of them are known: vocabularies, nulls, moments."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maf.errors import RunError
from maf.standardization import Standardization
from maf_serving.columns import ConditionColumn, encoded_columns, number_entries
from maf_serving.strict_json import parse_dataclass

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SettledRows:
    """Facts of the files of split rows; with them in their directory the files are complete.

    Attributes:
      counts: rows by split.
      dropped: rows left out.
      mean, scale: `[D + K]`, of the training rows; of a nullable column those of its other values.
      constant: `[D + K]`, whether a column has one value alone.
      columns: the raw columns of the condition.
      findings: what there is to say of categories and nulls, a line each.
    """

    counts: Mapping[str, int]
    dropped: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    constant: tuple[bool, ...]
    columns: tuple[ConditionColumn, ...]
    findings: tuple[str, ...] = ()

    def write(self, directory: Path) -> None:
        """Marks the files in `directory` as complete; before that they count as not there."""
        partial = directory / "rows.json.partial"
        partial.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")
        partial.replace(directory / "rows.json")

    @classmethod
    def read(cls, directory: Path) -> SettledRows:
        """What `write` wrote."""
        path = directory / "rows.json"
        return parse_dataclass(cls, path.read_text(encoding="utf-8"), str(path), error=RunError)

    def standardization(self, event_noise: Array | None) -> Standardization:
        """Moments of x, noise of widths `event_noise` `[D]` included, and of the encoded condition `[C]`."""
        d = len(self.mean) - len(self.columns)
        mean, scale = np.array(self.mean), np.array(self.scale)
        event_scale = scale[:d] if event_noise is None else np.sqrt(scale[:d] ** 2 + event_noise**2 / 12)
        size = len(encoded_columns(self.columns))
        loc, deviation = np.zeros(size), np.ones(size)  # entries that are 0 or 1 stay as they are
        entries = number_entries(self.columns)
        numbers = [index for index, column in enumerate(self.columns, d) if not column.is_category]
        loc[entries] = mean[numbers]
        deviation[entries] = np.where(self.constant, 1.0, scale)[numbers]
        return Standardization(mean[:d], event_scale, loc, deviation)
