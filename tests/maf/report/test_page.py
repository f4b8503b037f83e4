import re
from html.parser import HTMLParser

import pytest

from maf.report.drawing.heading import verdict
from maf.report.drawing.page import commands, make_page
from maf.run_directory import load_run
from tests.maf.report.conftest import COLUMNS, HOSTILE

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


@pytest.fixture(params=sorted(COLUMNS))
def page(request, report_of):
    return Page(make_page(report_of(request.param, exact_entropy=3.25)))


def test_the_page_loads_nothing_and_runs_nothing(page):
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "img", "a"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "http" not in page.text


def test_the_style_loads_nothing(report_of):
    html = make_page(report_of("one"))
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "@import" not in style
    assert "url(" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def test_every_picture_says_what_it_shows_and_ids_are_unique(page):
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(pictures) >= 5
    assert all(each["role"] == "img" and len(each["aria-label"]) > 20 for each in pictures)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert next(attributes for tag, attributes in page.elements if tag == "html")["lang"] == "en"


def test_figures_on_the_page_are_those_of_the_report(report_of):
    report = report_of("two", exact_entropy=3.25)
    text = Page(make_page(report)).text
    for each in report.likelihoods.each:
        assert f"{each.nll:.4f} ±\u00a0{each.standard_error:.4f}" in text
    assert f"{report.likelihoods.each[0].nll - 3.25:+.4f}" in text
    assert f"{report.summary.training_rows:,} training" in text
    assert "1 more condition" in text
    assert HOSTILE in text
    sampled = Page(make_page(report_of("one", max_rows=100))).text
    assert f"a random sample of 100 of {report_of('one').rows.test_rows:,} test rows" in sampled


def test_the_same_run_makes_the_same_page(runs):
    from maf.report.make_report import make_report  # noqa: PLC0415
    from maf.report.options import ReportOptions  # noqa: PLC0415

    options = ReportOptions(run=runs["one"], max_rows=50)
    first, second = (make_page(make_report(options, announce=lambda _: None)) for _ in range(2))
    assert first == second


def test_commands_are_of_this_run(report_of, runs):
    report = report_of("one")
    written = list(commands(report).values())
    assert written[0] == f"python -m export --run {runs['one']} --model_base models/one"
    body = re.search(r"-d '(.*)'$", written[2])[1]
    instance = __import__("json").loads(body)["instances"][0]
    assert len(instance["x"]) == len(load_run(runs["one"]).event_columns)
    assert len(instance["conditional_input"]) == 1
    assert "conditional_input" not in commands(report_of("three"))["Ask for the log-density of a row"]


def test_verdicts_in_words(report_of):
    import dataclasses  # noqa: PLC0415

    calibration = dataclasses.replace(report_of("one").calibration, distance_by_chance=0.02)
    column = dataclasses.replace(calibration.columns[0], distance=0.01, mean=0.5, spread=1.0)
    off = dataclasses.replace(column, distance=0.1)
    assert verdict(column, calibration) == "calibrated, as far as can be told"
    assert verdict(dataclasses.replace(off, mean=0.55, spread=1.1), calibration) == (
        "predicted too low and predicted too narrow"
    )
    assert verdict(dataclasses.replace(off, spread=0.9), calibration) == "predicted too wide"
    assert verdict(off, calibration) == "shape a little off"
