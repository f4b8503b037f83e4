import base64

import numpy as np
import pytest
import tensorflow as tf

from maf.report.drawing.pictures import opacity_png, pairs_chart
from maf.report.drawing.quality import is_cut_off, training_chart
from maf.report.pictures import Pairs, Range, histogram, plot_range, shared_ranges
from maf.run_directory import EpochRecord


def test_png_is_read_as_what_was_written():
    opacity = np.linspace(0, 1, 12).reshape(3, 4)
    data = opacity_png(opacity).removeprefix("data:image/png;base64,")
    pixels = tf.io.decode_png(base64.b64decode(data), channels=4).numpy()
    assert (pixels[..., :3] == 255).all()
    np.testing.assert_allclose(pixels[..., 3] / 255, opacity, atol=1 / 255)


def test_ranges_leave_outliers_out_and_are_shared_unless_one_would_vanish():
    shown = plot_range(np.append(np.linspace(0, 1, 10_000), 1e9))
    assert -0.1 < shown.low < 0
    assert 1 < shown.high < 1.1
    constant = plot_range(np.full(10, 7.0))
    assert (constant.low, constant.high) == pytest.approx((6.65, 7.35))
    assert shared_ranges([Range(0, 1), Range(1, 3)]) == [Range(0, 3), Range(0, 3)]
    assert shared_ranges([Range(0, 1), Range(0, 300)]) == [Range(0, 1), Range(0, 300)]


def test_ranges_on_a_log_scale():
    shown = plot_range(np.append(np.geomspace(1, 1e6, 10_000), [0.0, -5.0]), "log")
    assert 0.1 < shown.low < 1
    assert 1e6 < shown.high < 1e7
    assert shown.grid(3)[1] == pytest.approx(np.sqrt(shown.low * shown.high))
    decades = [Range(1, 1e3, "log"), Range(10, 1e5, "log")]
    assert shared_ranges(decades) == [Range(1, 1e5, "log")] * 2
    assert shared_ranges([Range(1, 1e3, "log"), Range(1, 1e3)])[1].scale == "linear"
    assert plot_range(np.array([-1.0, 0.0]), "log").scale == "linear"  # nothing that a log scale could show


def test_a_histogram_on_a_log_scale_is_a_density_of_the_logarithm():
    values = np.exp(np.random.default_rng(0).normal(5, 1, 200_000))
    shown = Range(np.exp(1.0), np.exp(9.0), "log")
    found = histogram(values, shown, bins=40)
    middle = np.log10(found.edges[:-1] * found.edges[1:]) / 2
    normal = np.exp(-0.5 * ((middle * np.log(10) - 5) ** 2)) / np.sqrt(2 * np.pi) * np.log(10)
    np.testing.assert_allclose(found.density, normal, atol=0.02)
    assert (found.density * shown.width / 40).sum() == pytest.approx(1, abs=0.001)


def test_pairs_say_which_columns_are_on_a_log_scale():
    values = np.random.default_rng(0).normal(size=(300, 2))
    values[:, 0] = 10 ** (3 + values[:, 0])
    chart = pairs_chart(Pairs(ranges=(Range(1, 1e6, "log"), Range(-4, 4)), rows=values, draws=values), ("price", "y"))
    words = [part.text for part in chart.iter("text")]
    assert words.count("price, log") == words.count("y") == 2
    assert {"100", "10\u00a0k"} <= set(words)
    outlines = [part.get("points") for part in chart.iter("polygon")]
    assert len(outlines) == 2


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
