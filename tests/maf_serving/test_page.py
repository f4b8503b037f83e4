import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from maf_serving.calibration import Finding
from maf_serving.page import STYLE, density_of, element, figure, header, listed, make_page, section, short, table, tile

KNOWN = {"lang", "charset", "name", "content", "class", "aria-hidden", "aria-label", "tabindex", "role", "scope"}
HOSTILE = "<script>alert('x')</script> & \"more\""


def test_whatever_is_shown_is_escaped():
    page = make_page(
        HOSTILE,
        header(HOSTILE, HOSTILE, HOSTILE, findings=[Finding("bad", HOSTILE, HOSTILE)], tiles=[tile(*[HOSTILE] * 3)]),
        [section(HOSTILE, HOSTILE, figure(HOSTILE, HOSTILE), table(HOSTILE, [HOSTILE] * 2, [[HOSTILE] * 2]), None)],
        HOSTILE,
    )
    tags = []
    reader = HTMLParser(convert_charrefs=True)
    reader.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    reader.feed(page)
    assert not {tag for tag, _ in tags} & {"script", "b>"}
    assert {name for _, attributes in tags for name in attributes} <= KNOWN
    assert page.count("&lt;script&gt;") >= 15
    assert page.startswith("<!DOCTYPE html>\n<html lang=")


def test_attributes_of_elements():
    made = element("line", "a", None, element("b"), "c", x1=1.0, stroke_width=2, class_="rule")
    assert made.attrib == {"x1": "1", "stroke-width": "2", "class": "rule"}
    assert (made.text, made[0].tail) == ("a", "c")


def test_names_are_cut_to_what_fits():
    assert listed(("a", "b", "c"), 2) == "a, b and 1 more"
    assert density_of(("price", "volume"), ()) == "p(price, volume)"
    assert density_of(("p" * 30, "v" * 30), ("season",)) == "p(2 columns | season)"
    assert short("abcdef", 4) == "abc…"


def test_a_verdict_says_in_words_what_its_marks_say():
    page = make_page("t", header("k", "h", "o", findings=[Finding("good", "Fine:", "all of it.")]), [], "f")
    assert 'aria-hidden="true">✓</span><span><b>Fine:</b> all of it.</span>' in page


def test_the_style_loads_nothing():
    assert "@import" not in STYLE
    assert "url(" not in STYLE
    assert "prefers-color-scheme: dark" in STYLE
    assert "@media print" in STYLE


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_told_apart_in_both_schemes(scheme):
    colours = dict(re.findall(r"--(\w+): (#\w{6})", next(p for p in STYLE.split(":root") if f"scheme: {scheme}" in p)))
    for ink in ("ink", "soft", "model", "good", "fair", "bad"):
        for ground in ("paper", "card", "code"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for mark in ("dots", "model"):
        assert contrast(colours[mark], colours["card"]) >= 3
    assert contrast(colours["model"], colours["data"]) >= 3


def contrast(one, other):
    """As WCAG 2 defines it."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_the_page_kit_needs_the_standard_library_alone():
    code = """import sys, maf_serving.page, maf_serving.page_plots, maf_serving.page_plots
others = {"numpy", "pyarrow", "tensorflow", "maf", "beam_jobs"}
print(sorted({name.partition(".")[0] for name in sys.modules} & others))"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
