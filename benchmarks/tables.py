"""A report as Markdown: what the command prints and what the page shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from benchmarks.case import BY_BATCH, BY_EVENT_SIZE, GOALS, Case, Goal
from benchmarks.measurement import Measurement, find

if TYPE_CHECKING:
    from benchmarks.report import Report

OURS, PEERS = "exported", ("tfp", "tfp_xla", "flowjax", "zuko")
BARE_GOAL, DICTIONARIES_GOAL = 0.9, 6.0
SERVING_QUANTITIES = ("start until available [s]", "first log_prob [s]", "first sample [s]", "later log_prob [s]")
Row = Sequence[str]


def markdown(report: Report) -> str:
    """All tables of a report that have rows, and what was skipped."""
    return "\n\n".join(part for part in _parts(report) if part) + "\n"


def _parts(report: Report) -> Iterator[str]:
    machine = report.machine
    yield (
        f"{report.date[:10]}, suite `{report.suite}`: {machine.cpu}; {report.threads} of {machine.cores} cores, "
        f"{machine.system}, Python {machine.python}. Medians ± half the distance"
        " between the quartiles of interleaved turns."
    )
    yield _titled("Against TFP in `tf.function`", goal_table(report.measurements))
    for quantity in ("log_prob", "sample"):
        for title, cases in (("by batch", BY_BATCH), ("by D", BY_EVENT_SIZE)):
            yield _titled(f"`{quantity}` {title}, ms (times ours)", _contender_table(report, quantity, cases))
    yield _titled("Batch scoring, D=8, C=4, hidden 64x64, five layers", _scoring_table(report))
    yield _titled("Export and serving, requests of one row", _serving_table(report))
    rows = [
        (c.name, ", ".join(f"{package} {version}" for package, version in c.versions.items()), c.mode, c.weights)
        for c in report.contenders
    ]
    yield _titled("Contenders", _table(("name", "versions", "how", "weights"), rows))
    yield _titled("Skipped", "\n".join(f"- {s.subject} ({s.what}): {s.reason}" for s in report.skipped))


def goal_table(measurements: Sequence[Measurement]) -> str:
    """The cases that have goals, with the ratios reached."""
    header = (
        "D, C, hidden, batch", "log_prob ms", "vs TFP", "goal", "sample ms", "vs TFP", "goal",
        "sample / log_prob", "goal", "log_prob / dense products",
    )  # fmt: skip
    return _table(header, (row for goal in GOALS for row in _goal_rows(measurements, goal)))


def _goal_rows(measurements: Sequence[Measurement], goal: Goal) -> Iterator[Row]:
    log_prob, sample, tfp_log_prob, tfp_sample, dense = (
        find(measurements, name, quantity, goal.case)
        for name, quantity in (
            (OURS, "log_prob [s]"),
            (OURS, "sample [s]"),
            ("tfp", "log_prob [s]"),
            ("tfp", "sample [s]"),
            ("dense", "log_prob [s]"),
        )
    )
    if log_prob is None or sample is None:
        return
    yield (
        _name(goal.case),
        _milliseconds(log_prob),
        _times(tfp_log_prob, log_prob),
        f"{goal.log_prob:g}x",
        _milliseconds(sample),
        _times(tfp_sample, sample),
        f"{goal.sample:g}x",
        f"{sample.median / log_prob.median:.1f}",
        f"≤ {goal.sample_per_log_prob:g}" if goal.sample_per_log_prob else "",
        f"{log_prob.median / dense.median:.2f}" if dense else "",
    )


def _contender_table(report: Report, quantity: str, cases: Iterable[Case]) -> str:
    names = (OURS, *(name for name in PEERS if any(m.subject == name for m in report.measurements)))
    rows = []
    for case in cases:
        found = {name: find(report.measurements, name, f"{quantity} [s]", case) for name in names}
        ours = found[OURS]
        if ours is None:
            continue
        cells = [
            _milliseconds(m) + (f" ({_times(m, ours)})" if m is not ours else "") if m else "" for m in found.values()
        ]
        rows.append((_name(case), *cells))
    return _table(("D, C, hidden, batch", *names), rows)


def _scoring_table(report: Report) -> str:
    score = find(report.measurements, "score", "rows/s")
    if score is None:
        return ""
    rows = []
    for name, what, goal in (
        ("score", "`beam_jobs.score`", None),
        ("bare loop", "bare loop: read, score, write, no Beam", BARE_GOAL),
        ("dictionaries", "Beam with a dictionary for each row", DICTIONARIES_GOAL),
    ):
        rate = find(report.measurements, name, "rows/s")
        if rate is not None:
            ratio = f"{score.median / rate.median:.2f}x" if goal else ""
            shown = f"{rate.median:,.0f} ± {100 * rate.spread:.0f} %"
            rows.append((what, shown, ratio, f"≥ {goal:g}x" if goal else ""))
    return _table(("", "rows/s", "score beside it", "goal"), rows)


def _serving_table(report: Report) -> str:
    cases = sorted({m.case for m in report.measurements if m.subject == "export" and m.case})
    rows = []
    for case in cases:
        export, size, load = (
            find(report.measurements, "export", q, case) for q in ("export [s]", "size [MB]", "load [s]")
        )
        for subject in ("warm-up", "no warm-up"):
            cells = [find(report.measurements, subject, quantity, case) for quantity in SERVING_QUANTITIES]
            start, *requests = cells
            rows.append(
                (
                    _name(case).rpartition(",")[0],
                    f"{export.median:.1f}" if export else "",
                    f"{size.median:.1f}" if size else "",
                    f"{load.median:.1f}" if load else "",
                    subject,
                    f"{start.median:.1f}" if start else "",
                    *(_milliseconds(request) if request else "" for request in requests),
                )
            )
    header = (
        "D, C, hidden", "export s", "MB", "load s", "server", "until available s",
        "first log_prob ms", "first sample ms", "later log_prob ms",
    )  # fmt: skip
    return _table(header, rows)


def _titled(title: str, body: str) -> str:
    return f"### {title}\n\n{body}" if body else ""


def _table(header: Row, rows: Iterable[Row]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}", *lines]) if lines else ""


def _name(case: Case) -> str:
    return f"{case.event_size}, {case.condition_size}, {case.hidden}x{case.hidden}, {case.batch}"


def _milliseconds(measurement: Measurement) -> str:
    milliseconds = 1e3 * measurement.median
    digits = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
    return f"{milliseconds:.{digits}f} ± {100 * measurement.spread:.0f} %"


def _times(theirs: Measurement | None, ours: Measurement) -> str:
    if theirs is None:
        return ""
    ratio = theirs.median / ours.median
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"
