import dataclasses
import re
from html.parser import HTMLParser

import pytest

from maf import read_run
from maf.report.drawing.page import commands, draw_page
from maf.report.drawing.wording import find_verdict
from maf_serving.calibration import LEVELS
from maf_serving.page import STYLE
from maf_serving.page_numbers import with_error
from tests.maf.report.conftest import HOSTILE, KINDS

VOID = {"meta"}


class Page(HTMLParser):
    """Elements, text outside of commands, and whether every element is closed."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "pre" not in self.open:
            self.text += data + " "


@pytest.fixture(params=KINDS)
def page(request, report_of):
    return Page(draw_page(report_of(request.param, exact_entropy=3.25)))


def test_the_page_loads_nothing_and_runs_nothing(page):
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "img", "a"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "http" not in page.text


def test_no_number_is_in_scientific_notation(page):
    labels = " ".join(attributes["aria-label"] for _, attributes in page.elements if "aria-label" in attributes)
    assert not re.findall(r"\d[eE][+-]?\d", page.text + labels)


def test_the_style_is_that_of_all_pages(report_of):
    assert f"<style>{STYLE}</style>" in draw_page(report_of("one"))


def test_columns_on_a_log_scale_are_drawn_on_one(report_of):
    report = report_of("price")
    assert report.rows.logarithmic == (0,)
    assert report.pictures[0].cloud.ranges[0].scale == "log"
    text = Page(draw_page(report)).text
    assert "price, log scale" in text
    assert "price, log " in text  # of the pairs
    assert "of price on a log scale as the model is" in text
    assert any(f" {each} " in text for each in ("1,000", "10,000", "10\u00a0k"))
    assert "log scale" not in Page(draw_page(report_of("one"))).text


def test_every_picture_says_what_it_shows_and_ids_are_unique(page):
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(pictures) >= 5
    assert all(each["role"] == "img" and len(each["aria-label"]) > 20 for each in pictures)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert next(attributes for tag, attributes in page.elements if tag == "html")["lang"] == "en"


def test_figures_on_the_page_are_those_of_the_report(report_of):
    report = report_of("two", exact_entropy=3.25)
    text = Page(draw_page(report)).text
    for each in report.likelihoods.each:
        assert with_error(each.nll, each.standard_error) in text
    assert f"{report.likelihoods.each[0].nll - 3.25:+.4f}" in text
    assert f"{report.summary.training_rows:,} training" in text
    assert "1 more condition" in text
    assert HOSTILE in text
    sampled = Page(draw_page(report_of("one", max_rows=100))).text
    assert f"a random sample of 100 of {report_of('one').rows.test_rows:,} test rows" in sampled


def test_the_same_run_makes_the_same_page(runs):
    from maf.report.make_report import measure_run  # noqa: PLC0415
    from maf.report.options import ReportOptions  # noqa: PLC0415

    options = ReportOptions(run=runs["one"], max_rows=50)
    first, second = (draw_page(measure_run(options, announce=lambda _: None)) for _ in range(2))
    assert first == second


def test_commands_are_of_this_run(report_of, runs):
    report = report_of("one")
    written = list(commands(report).values())
    assert written[0] == f"maf-serving export --run {runs['one']} --model models/one"
    body = re.search(r"-d '(.*)'$", written[2])[1]
    instance = __import__("json").loads(body)["instances"][0]
    assert len(instance["x"]) == len(read_run(runs["one"]).event_columns)
    assert len(instance["conditional_input"]) == 1
    assert "conditional_input" not in commands(report_of("three"))["Ask for the log-density of a row"]


def words(report):
    return [f"{each.kind}: {each.claim} {each.ground}" for each in find_verdict(report)]


def test_the_verdict_of_a_good_model(report_of):
    report = with_calibration(report_of("one"), distance=0.01)
    simple = dataclasses.replace(report.likelihoods.each[1], nll=5.0, excess=0.42, excess_error=0.01)
    likelihoods = dataclasses.replace(report.likelihoods, each=(report.likelihoods.each[0], simple))
    jointly, columns, against = words(dataclasses.replace(report, likelihoods=likelihoods))
    assert jointly == "good: Calibrated: 5 of 5 levels within noise, all event columns together, on 400 rows."
    assert columns == "good: Each column for itself: 1 of 1 within noise."
    assert against.replace("\u00a0", " ") == (
        f"good: Beats the Gaussian by 0.420 ± 0.010 nats per row, on {report.likelihoods.rows:,} rows."
    )
    assert all(each in Page(draw_page(report)).text for each in ("Calibrated:", "In short"))


def test_the_verdict_of_a_bad_model(report_of):
    report = with_calibration(report_of("one"), distance=0.3)
    model, *_, linear = report.likelihoods.each
    worse = dataclasses.replace(linear, nll=0.0, excess=-0.5, excess_error=0.01)
    lost = dataclasses.replace(report.likelihoods, each=(model, worse), rows_without_density=3)
    found = words(dataclasses.replace(report, likelihoods=lost))
    assert found[0].startswith("bad: Not calibrated, all event columns together:")
    assert found[1].startswith("bad: 0 of 1 columns calibrated: worst is y")
    assert found[2].startswith("bad: Worse than the conditional linear Gaussian by 0.500")
    assert found[3].startswith("bad: 3 rows without a density")
    same = dataclasses.replace(worse, excess=0.01, excess_error=0.01)
    even = dataclasses.replace(report, likelihoods=dataclasses.replace(lost, each=(model, same)))
    assert "fair: No better than the conditional linear Gaussian" in " ".join(words(even))


def with_calibration(report, *, distance):
    """As if this had been found."""
    calibration = report.calibration
    column = dataclasses.replace(calibration.columns[0], distance=distance)
    covered = tuple(max(level - distance, 0.0) for level in LEVELS) if distance > 0.1 else LEVELS
    found = dataclasses.replace(calibration, rows=400, columns=(column,), covered=covered, distance=distance)
    return dataclasses.replace(report, calibration=found)
