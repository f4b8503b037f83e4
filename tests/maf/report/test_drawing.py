import base64
import re

import numpy as np
import pytest
import tensorflow as tf

from maf.report.drawing.axis import Axis, widen
from maf.report.drawing.pictures import opacity_png
from maf.report.drawing.quality import is_cut_off, training_chart
from maf.report.drawing.style import STYLE
from maf.report.drawing.wording import heading_of, listed, number, short
from maf.report.pictures import plot_range, shared_ranges
from maf.training_state import EpochRecord


def test_axis_places_values_and_labels_round_ones():
    axis = Axis(low=-1.3, high=4.1, start=100, end=0)
    assert (axis.place(-1.3), axis.place(4.1)) == (100, 0)
    assert [words for _, words in axis.labels()] == ["0", "2", "4"]
    assert [words for _, words in Axis(low=0.1, high=0.42, start=0, end=1).labels()] == ["0.1", "0.2", "0.3", "0.4"]
    assert [words for _, words in Axis(low=0, high=4e7, start=0, end=1).labels()][-1] == "4e+07"
    assert widen(3.0, 3.0) == pytest.approx((2.97, 3.03))


def test_png_is_read_as_what_was_written():
    opacity = np.linspace(0, 1, 12).reshape(3, 4)
    data = opacity_png(opacity).removeprefix("data:image/png;base64,")
    pixels = tf.io.decode_png(base64.b64decode(data), channels=4).numpy()
    assert (pixels[..., :3] == 255).all()
    np.testing.assert_allclose(pixels[..., 3] / 255, opacity, atol=1 / 255)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (1234.567, "1,235"), (-0.12345, "-0.1235"), (3.0, "3.000"), (1.5e9, "1.500e+09"), (2e-7, "2.000e-07")],
)
def test_numbers_have_four_digits(value, words):
    assert number(value) == words


def test_names_are_cut_to_what_fits():
    assert listed(("a", "b", "c"), 2) == "a, b and 1 more"
    assert heading_of(("price", "volume")) == "price, volume"
    assert heading_of(("p" * 30, "v" * 30)) == "2 columns"
    assert short("abcdef", 4) == "abc…"


def test_ranges_leave_outliers_out_and_are_shared_unless_one_would_vanish():
    values = np.append(np.linspace(0, 1, 10_000), 1e9)
    low, high = plot_range(values)
    assert -0.1 < low < 0
    assert 1 < high < 1.1
    assert plot_range(np.full(10, 7.0)) == pytest.approx((6.65, 7.35))
    assert shared_ranges([(0, 1), (1, 3)]) == [(0, 3), (0, 3)]
    assert shared_ranges([(0, 1), (0, 300)]) == [(0, 1), (0, 300)]


def test_a_high_start_is_cut_off_and_not_drawn_flat():
    validation = [2.9, 2.5, 2.45, 2.42, 2.41, 2.4]
    history = [
        EpochRecord(epoch=i + 1, training_nll=nll + 30 * (i == 0), validation_nll=nll, learning_rate=0.1, seconds=1.0)
        for i, nll in enumerate(validation)
    ]
    assert is_cut_off(history)
    assert not is_cut_off(history[1:])
    curve = next(part for part in training_chart(history).iter("polyline") if "soft" in part.get("class"))
    heights = [float(point.split(",")[1]) for point in curve.get("points").split()]
    assert heights[0] < -100  # far above the frame, which the curve enters where it does
    assert min(heights[1:]) > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_told_apart_in_both_schemes(scheme):
    colours = dict(re.findall(r"--(\w+): (#\w{6})", next(p for p in STYLE.split(":root") if f"scheme: {scheme}" in p)))
    for ink in ("ink", "soft", "model"):
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
