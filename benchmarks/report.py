"""Everything one run found, and its one JSON form."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from benchmarks.case import Case
from benchmarks.contender import Description
from benchmarks.machine import Machine
from benchmarks.measurement import Measurement


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that could not be measured.

    Attributes:
      subject: a contender or another subject of measurements.
      what: quantity and case, or `all`.
      reason: in its own words.
    """

    subject: str
    what: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run.

    Attributes:
      date: ISO 8601.
      suite: which cases: `full` or `quick`.
      machine: where.
      threads: of each contender.
      contenders: those that took part.
      measurements: all figures.
      skipped: what is missing, by name.
      checks: what the checks of the contenders found, a line each.
      implausible: names of the contenders that failed one.
    """

    date: str
    suite: str
    machine: Machine
    threads: int
    contenders: tuple[Description, ...]
    measurements: tuple[Measurement, ...]
    skipped: tuple[Skipped, ...]
    checks: tuple[str, ...]
    implausible: tuple[str, ...]

    def to_json(self) -> str:
        """As JSON; medians and spreads are in it for those who read it without this class."""
        document = dataclasses.asdict(self)
        for values, measurement in zip(document["measurements"], self.measurements, strict=True):
            values |= {"median": measurement.median, "spread": measurement.spread}
        return json.dumps(document, indent=1) + "\n"


def from_json(text: str) -> Report:
    """The report that `to_json` wrote; for tables and plots of an earlier run."""
    document: dict[str, Any] = json.loads(text)
    measurements = []
    for values in document["measurements"]:
        case = Case(**values["case"]) if values["case"] else None
        kept = {"subject": values["subject"], "quantity": values["quantity"], "values": tuple(values["values"])}
        measurements.append(Measurement(case=case, **kept))
    return Report(
        **{
            **document,
            "machine": Machine(**document["machine"]),
            "contenders": tuple(Description(**contender) for contender in document["contenders"]),
            "measurements": tuple(measurements),
            "skipped": tuple(Skipped(**skipped) for skipped in document["skipped"]),
            "checks": tuple(document["checks"]),
            "implausible": tuple(document["implausible"]),
        }
    )
