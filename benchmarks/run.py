"""One run of a suite: contenders, batch scoring, serving, one report."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence

from benchmarks.arguments import PARTS
from benchmarks.contenders import NAMES
from benchmarks.machine import this_machine
from benchmarks.race import Race
from benchmarks.report import Report, Skipped
from benchmarks.serving_figures import ServerError, measure_serving
from benchmarks.suite import SUITES


def run(
    suite_name: str,
    *,
    parts: Collection[str] = PARTS,
    contenders: Sequence[str] = NAMES,
    interpreters: Sequence[str] = (),
    threads: int = 2,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Runs the parts of a suite; TensorFlow must have been imported before, quietly or not.

    Args:
      suite_name: of `SUITES`.
      parts: of `PARTS`.
      contenders: of `benchmarks.contenders.NAMES`.
      interpreters: where to look for packages of contenders that this one has not.
      threads: of each contender.
      progress: is told what goes on.
    """
    suite, race = SUITES[suite_name], Race()
    measurements, skipped = [], []
    if "contenders" in parts:
        race.run(
            contenders,
            suite.cases,
            threads=threads,
            interpreters=interpreters,
            seconds=suite.seconds,
            least_rounds=suite.least_rounds,
            progress=progress,
        )
    if "scoring" in parts:
        from benchmarks.batch_scoring import measure_scoring  # noqa: PLC0415  # Beam takes seconds to import

        progress(f"batch scoring of {suite.scoring_rows:,} rows")
        measurements += measure_scoring(
            rows=suite.scoring_rows, dictionary_rows=suite.dictionary_rows, repeats=suite.scoring_repeats
        )
    if "serving" in parts:
        try:
            measurements += measure_serving(suite.served, repeats=suite.serving_repeats, progress=progress)
        except ServerError as error:
            skipped.append(Skipped(subject="serving", what="all", reason=" ".join(str(error).split())))
    return Report(
        date=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        suite=suite_name,
        machine=this_machine(),
        threads=threads,
        contenders=tuple(race.contenders),
        measurements=(*race.measurements, *measurements),
        skipped=(*race.skipped, *skipped),
        checks=tuple(race.checks),
        implausible=tuple(sorted(race.implausible)),
    )
