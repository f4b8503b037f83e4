"""How likely the test rows are, and how training went."""

from __future__ import annotations

from maf.report.drawing.likelihood_chart import likelihood_chart
from maf.report.drawing.markup import Element, element, figure, table
from maf.report.drawing.training_chart import is_cut_off, training_chart
from maf.report.drawing.wording import nats
from maf.report.report import Report


def quality_section(report: Report) -> Element:
    """NLL beside baselines, and the curves."""
    best = min(report.history, key=lambda record: record.validation_nll)
    cut_off = is_cut_off(report.history)
    seconds = sum(record.seconds for record in report.history)
    return element(
        "section",
        element("h2", "How likely the test rows are"),
        element("p", _explanation(report), class_="soft"),
        element(
            "div",
            figure(
                "Beside simple densities",
                likelihood_chart(report.likelihoods, report.options.exact_entropy),
                _likelihood_table(report),
            ),
            figure(
                "Training",
                f"Mean NLL by epoch. The weights are those after epoch {best.epoch} of {len(report.history)}; "
                f"{_duration(seconds)} of training." + (" The start is above the chart." if cut_off else ""),
                _key(("soft", "training rows"), ("model", "validation rows")),
                training_chart(report.history),
            ),
            class_="grid halves",
        ),
    )


def _explanation(report: Report) -> str:
    lost = report.likelihoods.rows_without_density
    left_out = f" {lost:,} rows are left out: the model gives them no density." if lost else ""
    return (
        "The mean negative log-likelihood (NLL) says how much probability density the model put where the rows turned "
        "out to be. One nat less is 2.7 times the density. The baselines are fitted to the same training rows in "
        "closed form." + left_out
    )


def _likelihood_table(report: Report) -> Element:
    model, *others = report.likelihoods.each
    rows = [(model.name, f"{nats(model.nll)} ±\u00a0{nats(model.standard_error)}", "")]
    rows += [
        (
            each.name,
            f"{nats(each.nll)} ±\u00a0{nats(each.standard_error)}",
            f"{each.excess:+.4f} ±\u00a0{nats(each.excess_error)}",
        )
        for each in others
    ]
    entropy = report.options.exact_entropy
    if entropy is not None:
        rows.append(("exact entropy", nats(entropy), f"{entropy - model.nll:+.4f}"))
    return table("Mean NLL of each density", ("density", "mean NLL", "more than the model's"), rows)


def _key(*entries: tuple[str, str]) -> Element:
    return element("div", *(element("span", words, class_=kind) for kind, words in entries), class_="key")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
