"""What is said of a comparison with training: its summary, its verdict in words, and its page.

The page is of the parts that all pages of the toolkit have.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from beam_jobs.evaluation.drift import ColumnDrift, Verdict
from beam_jobs.evaluation.paired_nll import PairedDrift
from beam_jobs.jobs.summary import FOUND_STATUS, Summary
from maf_serving.calibration import Finding
from maf_serving.page import (
    after,
    card,
    element,
    figure,
    grid,
    header,
    key,
    listed,
    make_page,
    note,
    section,
    short,
    table,
    tile,
)
from maf_serving.page_numbers import UNKNOWN, difference, fixed, number, percent, plural
from maf_serving.page_plots import WIDTH, Axis, line, svg, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.evaluation.drift import DriftResult
    from maf_serving.calibration import Kind
    from maf_serving.page import Element

_TOLD = 8  # columns, on the terminal
MAX_CHARTS = 12
MANY_REJECTED = 0.01
_KINDS: dict[str, Kind] = {"drift": "bad", "no drift": "good", "too few rows": "note"}
_ROW = 17.0
_NAMES = 104.0  # room for the names of bins
_NAME_LETTERS = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DriftSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest.

    Attributes:
      verdict: `drift`, `no drift` or `too few rows`, of all columns and the NLL.
      drifted: names of the columns that are drift, `NLL`, and `NLL of pairs`.
      findings: what the figures say, in words.
      columns: each raw column of the model.
      nll: the negative log-likelihood, against that of the validation rows; `None` where the profile has none.
      paired: the same against that of the rows of `--baseline_input`, key by key; `None` where there are none.
    """

    verdict: Verdict
    drifted: tuple[str, ...]
    findings: tuple[str, ...]
    columns: tuple[ColumnDrift, ...]
    nll: ColumnDrift | None
    paired: PairedDrift | None = None

    @property
    def exit_status(self) -> int:
        """See `Summary.exit_status`: of drift."""
        return FOUND_STATUS if self.verdict == "drift" else 0

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        lines = [f"rows scored   {self.rows_scored:>12,}"]
        if self.nll is not None:
            lines.append(
                f"mean NLL      {number(self.nll.mean):>12}  and {number(self.nll.trained_mean)} in validation"
            )
        if self.paired is not None:
            lines += self._paired_lines(self.paired)
        every = [*self.columns, *([self.nll] if self.nll else [])]
        worst = sorted(every, key=lambda each: (each.verdict != "drift", -(each.psi or 0.0)))
        for each in worst[:_TOLD]:
            null = percent(next((share.today for share in each.shares if share.name == "null"), 0.0))
            figures = f"PSI {fixed(each.psi, 3)}, KS {fixed(each.ks, 3)}, null {null}"
            lines.append(f"{each.verdict:<13} {each.column}: {', '.join(each.reasons) or figures}")
        if len(every) > _TOLD:
            lines.append(f"              {plural(len(every) - _TOLD, 'more column')} in the report")
        told = [f"{'verdict' if not index else '':<13} {each}" for index, each in enumerate(self.findings)]
        return [line.replace("\u00a0", " ") for line in [*lines, *told]]

    def _paired_lines(self, paired: PairedDrift) -> list[str]:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in paired.baseline_rejected.items())
        alone = f"{paired.only_today:,} of the input alone, {paired.only_baseline:,} of the baseline alone"
        gap = difference(paired.nll_difference, paired.standard_error) if paired.nll_difference is not None else "none"
        return [
            f"baseline rows {paired.baseline_rows:>12,}  {f'rejected of them: {kinds}' if kinds else 'all answered'}",
            f"keys of both  {paired.keys:>12,}  {alone}",
            f"paired NLL    {gap} nats per row; above zero is less likely than then",
        ]

    def next_step(self, output: str) -> str:
        """See `Summary.next_step`."""
        return f"open {output}/{self.output_files[0]} in a browser"


def drift_findings(result: DriftResult, *, rows_read: int, rows_rejected: int) -> list[Finding]:
    """What the figures say, in words: all together, the NLL, each column that has drifted, rejected rows."""
    drifted = [each for each in result.columns if each.verdict == "drift"]
    count = plural(len(result.columns), "column")
    findings = []
    if result.verdict == "drift":
        findings.append(
            Finding(
                "bad", "Drift:", f"{len(drifted)} of {count} beyond what matters and what is chance{_and_nll(result)}."
            )
        )
    elif result.verdict == "too few rows":
        findings.append(
            Finding("note", "Too few rows to tell:", f"of {plural(rows_read, 'row')} read; none shows drift.")
        )
    else:
        findings.append(Finding("good", "No drift:", f"{count} as in training, on {plural(rows_read, 'row')}."))
    if result.nll is not None and result.nll.rows:
        nll = result.nll
        means = f"mean {number(nll.mean)}, and {number(nll.trained_mean)} of the validation rows, nats"
        claim = {"drift": "The rows are not as likely:", "no drift": "As likely as validation rows:"}
        reasons = f"; {', '.join(nll.reasons)}" if nll.reasons else ""
        findings.append(
            Finding(_KINDS[nll.verdict], claim.get(nll.verdict, "Likelihood, of few rows:"), f"{means}{reasons}.")
        )
    if result.paired is not None:
        findings.append(_pairs_finding(result.paired))
    findings += [Finding("bad", f"{each.column}:", f"{', '.join(each.reasons)}.") for each in drifted]
    if rows_rejected:
        share = rows_rejected / max(rows_read, 1)
        kind: Kind = "bad" if share > MANY_REJECTED else "fair"
        told = f"{percent(share)} of those read; their columns are counted, their NLL is not."
        findings.append(Finding(kind, f"{plural(rows_rejected, 'row')} rejected:", told))
    return findings


def _and_nll(result: DriftResult) -> str:
    whose = [name for name in ("NLL", "NLL of pairs") if name in result.drifted]
    return "".join(f", and the {name}" for name in whose)


def _pairs_finding(paired: PairedDrift) -> Finding:
    """What the pairs say, and of how many rows that is."""
    zero = paired.zero_density_today + paired.zero_density_baseline + paired.zero_density_both
    lost = f"; {plural(zero, 'more pair')} with a row of density zero" if zero else ""
    rest = (
        f"{plural(paired.keys, 'key')} of both tables; {paired.only_today:,} of the input alone, "
        f"{paired.only_baseline:,} of the baseline alone{lost}"
    )
    if paired.nll_difference is None:
        return Finding("note", "No pair of rows to compare:", f"{rest}.")
    gap = f"NLL {difference(paired.nll_difference, paired.standard_error)} nats per row, of {rest}."
    if paired.verdict == "too few rows":
        return Finding("note", "Few pairs of rows:", gap)
    if paired.verdict == "no drift":
        return Finding("good", "Row by row as likely as the baseline:", gap)
    way = "less" if paired.nll_difference > 0 else "more"
    return Finding("bad", f"Row by row {way} likely than the baseline:", gap)


def make_drift_report(
    result: DriftResult, findings: Sequence[Finding], *, model: str, files: Sequence[str], rows: int
) -> str:
    """The report as HTML, which loads nothing and runs nothing.

    Args:
      result: what was found.
      findings: the same in words.
      model: path of the version.
      files: of the input.
      rows: that were read.
    """
    drifted = sum(each.verdict == "drift" for each in result.columns)
    tiles = [
        tile(
            {"drift": "Yes", "no drift": "No"}.get(result.verdict, UNKNOWN),
            "drift",
            f"{drifted} of {plural(len(result.columns), 'column')}",
            kind=_KINDS[result.verdict],
        ),
        tile(f"{rows:,}", "rows", "read, and counted between the quantiles of training"),
    ]
    if result.nll is not None:
        detail = f"nats per row; {number(result.nll.trained_mean)} of the validation rows"
        tiles.append(tile(number(result.nll.mean), "mean NLL", detail, kind=_KINDS[result.nll.verdict]))
    paired = result.paired
    if paired is not None and paired.nll_difference is not None:
        tiles.append(
            tile(
                difference(paired.nll_difference, paired.standard_error),
                "NLL, row by row",
                f"nats, of {plural(paired.keys, 'key')} of the input and the baseline",
                kind=_KINDS[paired.verdict],
            )
        )
    worst = sorted(result.all, key=lambda each: (each.verdict != "drift", -(each.psi or 0.0)))
    charts = [
        figure(each.column, f"{each.verdict.capitalize()}. {', '.join(each.reasons)}", _bins_chart(each))
        for each in worst[:MAX_CHARTS]
        if each.values
    ]
    return make_page(
        f"Drift of {model}",
        header(
            "Drift report",
            f"Today and training, {plural(len(result.columns), 'column')}",
            f"The rows of {listed(files, 3)} against what the training of {model} saw.",
            findings=findings,
            tiles=tiles,
        ),
        [_table_section(result), _chart_section(charts, len(result.all) - len(charts))],
        f"Written by maf-serving drift for {model}.",
    )


def _table_section(result: DriftResult) -> Element:
    heads = ("column", "", "rows", "PSI", "chance", "KS", "chance", "mean", "in training", "null", "outside, unknown")
    rows = [
        (
            each.column,
            each.verdict,
            f"{each.values:,}",
            fixed(each.psi, 3),
            fixed(each.psi_noise, 3),
            fixed(each.ks, 3),
            fixed(each.ks_noise, 3),
            number(each.mean),
            number(each.trained_mean),
            _share(each, ("null", "zero density")),
            _share(each, ("outside", "unknown", "unlikely")),
        )
        for each in result.all
    ]
    return section(
        "Columns",
        "PSI and KS measure how far the distribution of a column is from that of training; beside each, what so many "
        "rows may have by chance, of all figures together in 99 of 100 tables. Outside is beyond the least and the "
        "greatest value of training.",
        card(table("Columns against training", heads, rows), note("Shares: today's, and in brackets training's.")),
    )


def _share(each: ColumnDrift, names: tuple[str, ...]) -> str:
    found = [share for share in each.shares if share.name in names]
    return f"{percent(found[0].today)} ({percent(found[0].training)})" if found else UNKNOWN


def _chart_section(charts: Sequence[Element], more: int) -> Element | None:
    if not charts:
        return None
    return section(
        "Where the values are",
        "The values in bins of about a tenth of the training rows each, or by category.",
        key(("data", "today"), ("model", "training")),
        after(grid(*charts)),
        f"{plural(more, 'more column')} in the table." if more > 0 else None,
    )


def _bins_chart(of: ColumnDrift) -> Element:
    """Today's share of each bin as a bar, training's as a stroke."""
    most = max([*of.bins, *of.trained_bins]) or 1.0
    x = Axis(low=0.0, high=most, start=_NAMES, end=WIDTH - 46)
    rows: list[Element] = []
    for index, (name, today, trained) in enumerate(zip(of.bin_names, of.bins, of.trained_bins, strict=True)):
        top = _ROW * index + 2
        middle = top + _ROW / 2
        rows += [
            text(short(name, _NAME_LETTERS), x.start - 8, middle + 4, anchor="end", class_="name"),
            element(
                "rect",
                element("title", f"{name}: {percent(today)} today, {percent(trained)} in training"),
                x=x.start,
                y=top + 2,
                width=max(x.place(today) - x.start, 0.5),
                height=_ROW - 4,
                class_="data",
            ),
            line(x.place(trained), top, x.place(trained), top + _ROW, "line-model"),
            text(percent(today), WIDTH, middle + 4, anchor="end"),
        ]
    return svg(f"Shares of {of.column} by bin, today and in training", WIDTH, _ROW * len(of.bins) + 6, *rows)
