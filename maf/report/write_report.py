"""The report of a run as a file."""

from __future__ import annotations

from collections.abc import Callable

from maf.errors import RunError
from maf.report.drawing.page import make_page
from maf.report.make_report import make_report
from maf.report.options import ReportOptions
from maf_serving.command import when_interrupted


def write_report(options: ReportOptions, *, announce: Callable[[str], object] = print) -> str:
    """Measures, and writes the page; returns what to tell the person at its end.

    Raises:
      MafError: if the run or the rows cannot be read, or the page cannot be written.
    """
    report = make_report(options, announce=announce)
    page = options.page
    partial = page.with_name(page.name + ".partial")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        with when_interrupted(lambda _: partial.unlink(missing_ok=True)):
            partial.write_text(make_page(report), encoding="utf-8")
            partial.replace(page)
    except OSError as error:
        raise RunError(f"report {page} cannot be written: {error.strerror}") from error
    lines = [
        f"test NLL  {each.nll:9.4f} ± {each.standard_error:.4f} nats, {each.name}" for each in report.likelihoods.each
    ]
    return "\n".join([*lines, f"report    {page}"])
