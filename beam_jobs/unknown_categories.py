"""The step that counts the categories that the model does not know, column by column."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_jobs.output.writing import at_end
from beam_jobs.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from apache_beam.utils.windowed_value import WindowedValue

    from maf_serving.validation import ScoreableRows


class CountUnknown(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`ScoreableRows` to one `Tally` of a bundle; also a metric `unknown_categories_<column>` for each column."""

    def __init__(self, columns: Iterable[str]) -> None:
        super().__init__()
        self._counters = {name: Metrics.counter("beam_jobs", f"unknown_categories_{name}") for name in columns}
        self._counts: Counter[str] = Counter()

    def start_bundle(self) -> None:
        """Begins to count."""
        self._counts = Counter()

    def process(self, rows: ScoreableRows) -> None:
        """Counts those of a batch."""
        for name, unknown in rows.unknown.items():
            count = int(unknown.sum())
            if count:
                self._counts[name] += count
                self._counters[name].inc(count)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Says how many there were."""
        if self._counts:
            yield at_end(Tally(unknown_categories=dict(self._counts)))
