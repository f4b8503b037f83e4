"""The page as a person sees it, in a real browser."""

import asyncio
import itertools
import urllib.parse

import numpy as np
import pytest
import tensorflow as tf

from maf.report.drawing.page import draw_page
from tests.maf.report.browser import find_browser, view
from tests.maf.report.conftest import KINDS

BROWSER = find_browser()
LOOKS = list(itertools.product([390, 1280], ["light", "dark"]))
pytestmark = pytest.mark.skipif(BROWSER is None, reason="found no browser: install chromium or set CHROMIUM")


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_fits_reads_and_is_quiet(report_of, tmp_path, kind):
    page = tmp_path / "report.html"
    page.write_text(draw_page(report_of(kind)), encoding="utf-8")
    for (width, scheme), seen in zip(LOOKS, asyncio.run(view(BROWSER, page, tmp_path / "profile", LOOKS)), strict=True):
        assert seen.complaints == []
        assert {urllib.parse.urlsplit(each).scheme for each in seen.requests} <= {"file", "data"}
        assert seen.measured["width"] == width
        assert seen.measured["scroll"] == width
        assert seen.measured["beyond"] == []
        assert seen.measured["scheme"] == scheme
        assert seen.measured["letters"] >= 10
        assert "How to serve it" in seen.measured["text"]
        check_picture(seen.png, width, scheme)


def check_picture(png, width, scheme):
    pixels = tf.io.decode_png(png, channels=3).numpy()
    assert pixels.shape[1] == width
    assert pixels.shape[0] > 2_000
    brightness = pixels.mean()
    assert brightness > 225 if scheme == "light" else brightness < 50
    red, green, blue = (pixels[::3, ::3, i].astype(int).ravel() for i in range(3))
    assert len(np.unique(red << 16 | green << 8 | blue)) > 150
    assert (blue - red > 80).mean() > 0.001  # the model's colour is on the page
