"""What the page says in words: its heading and verdict, and values of conditional columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maf_serving.calibration import Finding, findings_of
from maf_serving.columns import OTHER, ConditionColumn
from maf_serving.page import Element, density_of, header, listed, short, tile
from maf_serving.page_numbers import SPACE, difference, fixed, nats, number, percent, plural, with_error
from maf_serving.page_plots import calibration_tiles, nll_tile
from maf_serving.time_parts import in_words

if TYPE_CHECKING:
    from maf.report.likelihoods import Likelihood
    from maf.report.report import Report

Array = np.ndarray[Any, Any]
MAX_LETTERS = 24
MAX_VALUES = 6
NULL = "null"
REGION = "densest region"
SURE = 2.0  # standard errors


def value_of(column: ConditionColumn, value: float) -> str:
    """A number, or the category whose place in the vocabulary it is."""
    if np.isnan(value) or (column.is_category and value < 0):
        return NULL
    if column.is_time:
        return in_words(value + column.offset)
    if not column.is_category:
        return number(value, 3)
    return short(str((*column.vocabulary, OTHER)[int(value)]), MAX_LETTERS)


def values_of(column: ConditionColumn, values: Array, middle: float) -> str:
    """The range of `values` `[n]`; of a category, how many of them are as in the middle."""
    if column.is_category or np.isnan(middle):
        alike = np.isnan(values) if np.isnan(middle) else values == middle
        return f"{column.measured_name} {value_of(column, middle)} in {percent(float(alike.mean()))}"
    least, most = (value_of(column, float(each)) for each in (np.nanmin(values), np.nanmax(values)))
    return f"{column.measured_name} from {least} to {most}"


def categories_of(column: ConditionColumn, shares: Array) -> str:
    """The most frequent categories with their `shares` `[V + 1]` of the rows, others last."""
    values = [
        f"{short(str(value), MAX_LETTERS)} {percent(float(share))}"
        for value, share in zip(column.vocabulary, shares, strict=False)
    ]
    more = len(values) - MAX_VALUES
    listed = values[:MAX_VALUES] + ([f"{more:,} more"] if more > 0 else [])
    return ", ".join([*listed, f"others {percent(float(shares[-1]))}"])


def heading(report: Report) -> Element:
    """Title, origin, verdict, tiles."""
    return header(
        "Report of a run",
        density_of(report.data.event, report.conditional_columns),
        _origin(report),
        findings=find_verdict(report),
        tiles=_tiles(report),
    )


def _origin(report: Report) -> str:
    data, summary = report.data, report.summary
    dropped = report.rows.dropped
    left_out = f" {plural(dropped, 'row')} of the tables left out: a value is missing." if dropped else ""
    looked, total = len(report.rows.x), report.rows.test_rows
    sample = f"a random sample of {looked:,} of {total:,}" if looked < total else f"{total:,}"
    origin = f" of {listed(report.options.test, 3)}" if report.options.test else ", which training never saw"
    worth = report.rows.effective_rows
    by_weight = "" if worth is None else f", by their weights, which tell as much as {worth:,.0f} of equal weight"
    return (
        f"Run {report.options.run.name}, trained on {plural(summary.training_rows, 'row')} of {listed(data.data, 3)}. "
        f"Everything below is measured on {sample} test rows{origin}{by_weight}.{left_out}"
    )


def find_verdict(report: Report) -> list[Finding]:
    """What the figures say, in words: calibration, then likelihood, then what is left out."""
    findings = [*findings_of(report.calibration.fit, REGION), _against(_simple(report), report.likelihoods.rows)]
    entropy, model = report.options.exact_entropy, report.likelihoods.each[0]
    if entropy is not None:
        gap = difference(model.nll - entropy, model.standard_error)
        findings.append(
            Finding("note", "Against the exact entropy:", f"{gap} nats per row; no model's mean is below it.")
        )
    lost = report.likelihoods.rows_without_density
    if lost:
        findings.append(
            Finding(
                "bad", f"{plural(lost, 'row')} without a density:", "the model gives them none; no NLL counts them."
            )
        )
    return findings


def _simple(report: Report) -> Likelihood:
    """The best of the baselines."""
    return min(report.likelihoods.each[1:], key=lambda each: each.nll)


def _against(baseline: Likelihood, rows: int) -> Finding:
    by = f"{with_error(abs(baseline.excess), baseline.excess_error)} nats per row, on {plural(rows, 'row')}."
    if abs(baseline.excess) <= SURE * baseline.excess_error:
        return Finding("fair", f"No better than the {baseline.name}:", f"the two differ by {by}")
    if baseline.excess < 0:
        return Finding("bad", f"Worse than the {baseline.name}", f"by {by}")
    return Finding("good", f"Beats the {baseline.name}", f"by {by}")


def _tiles(report: Report) -> list[Element]:
    model, simple = report.likelihoods.each[0], _simple(report)
    tiles = [
        nll_tile("test NLL", model.nll, model.standard_error, report.likelihoods.rows),
        tile(
            fixed(abs(simple.excess), 3),
            f"nats {'better than' if simple.excess >= 0 else 'worse than'} a {simple.name}",
            f"±{SPACE}{fixed(simple.excess_error, 3)}, row by row",
        ),
    ]
    entropy = report.options.exact_entropy
    if entropy is not None:
        tiles.append(
            tile(
                difference(model.nll - entropy),
                "nats from the exact entropy",
                f"which is {nats(entropy)}, and no model's mean is below it",
            )
        )
    return [*tiles, *calibration_tiles(report.calibration.fit, REGION)]
