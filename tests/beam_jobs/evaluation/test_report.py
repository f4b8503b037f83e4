"""The page of an evaluation: what it says, and that it is a page as all others are."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.ml.inference.base import PredictionResult

from beam_jobs import EvaluateSummary
from beam_jobs.evaluation.column_scores import POINTS, scores_of_quantiles
from beam_jobs.evaluation.report import make_report
from beam_jobs.evaluation.results import make_result
from beam_jobs.evaluation.row_sample import SampledRows, SampleScores
from beam_jobs.evaluation.statistics import Statistics
from beam_jobs.evaluation.verdict import judge
from beam_jobs.rows import Grouping
from export import TrainingSummary
from maf_serving.page import STYLE
from maf_serving.training_profile import ColumnProfile, TrainingProfile
from tests.maf.report.browser import find_browser, view

HOSTILE = "<script>alert('x')</script> & \"more\""
COLUMNS = ("price", HOSTILE)
ROWS = 4_000
TRAINING = TrainingSummary(
    training_rows=9_000, validation_rows=1_000, test_rows=1_000, epochs=3, validation_nll=500_000.1, test_nll=500_000.0
)


def scored(spread, rng):
    """What a sample of 500 rows of that spread scores with normal forecasts."""
    x = spread * rng.normal(size=(500, 2))
    scores = np.concatenate([scores_of_quantiles(np.tile(POINTS, (500, 1)), x[:, [d]]) for d in (0, 1)], axis=1)
    batch = SampledRows(keys=np.zeros(500, np.uint64), inputs={}, groups=np.full(500, "north", object))
    return SampleScores.of(PredictionResult(batch, {"scores": scores}), dimensions=2, grouped=True)


def evaluated(*, spread=1.0, correlation=0.0, base=None, nll=500_000.0, rows=ROWS):
    """What an evaluation finds of rows whose place in base space has this spread and correlation, and its summary."""
    rng = np.random.default_rng(1)
    grouping = Grouping(column="region", max_groups=10)
    statistics = Statistics(2, grouping)
    z = spread * rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], rows)
    if base == "uniform":
        z = rng.uniform(-1, 1, (rows, 2))
    statistics.add(z, -nll + 30 * rng.normal(size=rows), pa.array(np.resize(["north", HOSTILE, None], rows)))
    draws = rng.normal(size=(5_000, 2)) if base is None else rng.uniform(-1, 1, (2_000, 2))
    statistics.base_draws.add(draws)
    result = make_result(statistics, COLUMNS, sample=None, scores=scored(spread, rng))
    summary = EvaluateSummary(
        rows_read=rows,
        rows_scored=rows,
        rows_rejected=0,
        rejected_by_kind={},
        unreadable_files=(),
        unknown_categories={},
        out_of_range=None,
        seconds=1.0,
        model="models/demo/1",
        model_version="1",
        signature_name="inverse",
        event_columns=COLUMNS,
        conditional_columns=("season",),
        raw_condition_columns=("season",),
        dtype="float32",
        input_files=("a.parquet",),
        output_files=(),
        options={"group_column": "region"},
        reference=result.reference,
        reference_draws=result.reference_draws,
        reference_draws_ks=result.reference_draws_ks,
        overall=result.overall,
        groups=result.groups,
        groups_rejected_whole={},
        crps_method="69 quantiles of each row",
    )
    return summary, result


def words(findings):
    return [f"{each.kind}: {each.claim} {each.ground}".replace("\u00a0", " ") for each in findings]


class Page(HTMLParser):
    """Its tags, its visible text and its labels."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._in_style = set(), "", False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self._in_style = tag == "style"
        self.text += dict(attrs).get("aria-label", "") + " "

    def handle_data(self, data):
        self.text += "" if self._in_style else data + " "


def test_a_good_model_is_said_to_be_one_and_on_how_many_rows():
    summary, result = evaluated()
    mean = f"mean NLL {result.overall.mean_nll:,.2f} ± {result.overall.nll_standard_error:.2f}"
    assert words(judge(summary, result, TRAINING)) == [
        "good: Calibrated: 5 of 5 levels within noise, all event columns together, on 4,000 rows.",
        "good: Each column for itself: 2 of 2 within noise.",
        "good: Calibrated in each region: 3 of 3 within noise.",
        "good: Intervals hold what they say: 4 of 4 central ones of the columns, on 500 rows.",
        f"good: As likely as the test rows of its training: {mean} nats, there 500,000.0000 on 1,000 rows.",
        "good: Every row counts: 4,000 read, none rejected.",
    ]


def test_columns_are_not_praised_where_the_joint_region_fails():
    jointly, columns, *_ = words(judge(*evaluated(correlation=0.8)))
    assert jointly.startswith("bad: Not calibrated, all event columns together:")
    assert "central region holds" in jointly
    assert columns.startswith("note: Each column for itself is within noise (2 of 2); what is off is how they go")


def test_a_model_that_is_too_narrow_and_rows_that_are_lost():
    summary, result = evaluated(spread=1.5, nll=500_020.0)
    summary = dataclasses.replace(
        summary,
        rows_read=5_000,
        rows_rejected=1_000,
        rejected_by_kind={"x: NaN": 1_000},
        unknown_categories={"shop": 7},
    )
    result = dataclasses.replace(result, overall=dataclasses.replace(result.overall, rows_with_zero_density=2))
    found = words(judge(summary, result, TRAINING))
    assert "too narrow, on 4,000 rows" in found[0]
    assert found[1].startswith("bad: 0 of 2 columns calibrated: worst is ")
    assert "predicted too narrow (KS 0." in found[1]
    assert found[2].startswith("bad: 0 of 3 values of region calibrated: worst is region = ")
    assert found[3].startswith("bad: 0 of 4 central intervals hold what they say: worst is the 90 % one of ")
    assert "which is too narrow" in found[3]
    assert found[4].startswith("bad: Less likely than the test rows of its training by ")
    assert found[5:] == [
        "bad: 2 rows of density zero: to the model impossible; no NLL counts them.",
        "bad: 1,000 rows rejected: 20.0 % of 5,000 read are in no figure of the model.",
        "fair: 7 unknown values of shop: scored as a category of their own.",
    ]


def test_training_is_not_compared_where_its_density_is_another_or_not_known():
    summary, result = evaluated()
    noisy = dataclasses.replace(TRAINING, dequantization={"price": 1.0})
    untested = dataclasses.replace(TRAINING, test_nll=None, test_rows=0)
    for training in (None, noisy, untested):
        assert "training" not in " ".join(words(judge(summary, result, training)))


def test_a_mean_by_weight_is_not_compared_with_one_of_rows_that_count_alike():
    summary, result = evaluated()
    column = ColumnProfile(name="price", rows=9_000, nulls=9_000, effective_rows=2_000.0, weighted_null_share=1.0)
    by_weight = dataclasses.replace(TRAINING, profile=TrainingProfile(event=(column,)))
    claim = "note: Not compared with the test rows of its training: those count"
    assert f"{claim} by their weights, and these alike." in words(judge(summary, result, by_weight))
    weighted = dataclasses.replace(result, overall=dataclasses.replace(result.overall, effective_rows=3_000.0))
    assert f"{claim} alike, and these by weight." in words(judge(summary, weighted, TRAINING))
    assert any("As likely as the test rows" in each for each in words(judge(summary, weighted, by_weight)))


def test_draws_of_a_base_have_noise_of_their_own():
    _, result = evaluated(base="uniform")
    assert result.reference == "draws of the base"
    exact = evaluated()[1].overall.ks_by_chance
    assert result.overall.ks_by_chance == pytest.approx(exact * np.sqrt(1 + ROWS / 2_000))
    assert words(judge(*evaluated(base="uniform")))[0].startswith("good: Calibrated")


def test_the_page_is_as_all_pages_and_writes_numbers_for_people():
    summary, result = evaluated(nll=5e7)
    html = make_report(summary, result, TRAINING)
    page = Page(html)
    assert f"<style>{STYLE}</style>" in html
    assert not page.tags & {"script", "link", "iframe", "img", "a"}
    assert HOSTILE in page.text
    assert not re.findall(r"\d[eE][+-]?\d", page.text)
    assert re.search(r"(50,000,00|49,999,99)\d\.", page.text)
    for heading in ("In short", "How likely the rows are", "Calibration", "By region", "Evaluation report"):
        assert heading in page.text
    assert "Forecasts of each event column" in page.text
    assert f"CRPS of {HOSTILE}" in page.text
    assert "On 500 rows, a random sample of 4,000; by 69 quantiles of each row." in page.text.replace("\u00a0", " ")
    assert "Rejected rows" not in page.text


def test_the_page_ends_with_the_verdict_and_what_each_figure_rests_on():
    summary, result = evaluated()
    end = Page(make_report(summary, result, TRAINING)).text.replace("\u00a0", " ").rpartition("Verdict")[2]
    assert (
        end.split(".")[0].strip().startswith("Calibrated: 5 of 5 levels within noise, all event columns together, on")
    )
    for figure in ("mean NLL 4,000", "calibration and KS 4,000", "the reference 5,000", "CRPS and intervals 500"):
        assert figure in " ".join(end.split())
    assert "groups 1,333 to 1,334 3 values of region" in " ".join(end.split())


def test_values_that_are_rounded_may_be_in_more_intervals_than_their_level():
    summary, result = evaluated()
    wide = make_result(
        Statistics(2, Grouping(column=None, max_groups=1)), COLUMNS, scores=scored(0.5, np.random.default_rng(2))
    )
    result = dataclasses.replace(
        result, overall=dataclasses.replace(result.overall, columns=wide.overall.columns, crps_rows=500)
    )
    assert "which is too wide" in " ".join(words(judge(summary, result)))
    rounded = dataclasses.replace(summary, rounded_columns=COLUMNS)
    assert "Intervals hold what they say" in " ".join(words(judge(rounded, result)))


def test_rejected_rows_and_damaged_files_are_listed():
    from beam_jobs.jobs.summary import UnreadableFile  # noqa: PLC0415

    summary, result = evaluated()
    damaged = (UnreadableFile(file=HOSTILE, first_row=12_345, rows_lost=None, reason="it ends early"),)
    summary = dataclasses.replace(
        summary,
        rows_read=4_010,
        rows_rejected=10,
        rejected_by_kind={HOSTILE: 10},
        unreadable_files=damaged,
        groups_rejected_whole={"west": 3},
    )
    page = Page(make_report(summary, result))
    for each in (HOSTILE, "12,345", "unknown", "it ends early", "west"):
        assert each in page.text
    assert page.tags.isdisjoint({"script"})
    assert "fair: 10 rows rejected: 0.2 % of 4,010" in " ".join(words(judge(summary, result)))


def test_an_evaluation_of_nothing_says_so():
    summary, _ = evaluated()
    empty = make_result(Statistics(2, Grouping(column=None, max_groups=1)), COLUMNS)
    summary = dataclasses.replace(
        summary, rows_read=3, rows_scored=0, rows_rejected=3, overall=empty.overall, groups=()
    )
    assert words(judge(summary, empty)) == ["bad: Nothing to judge: none of 3 rows could be evaluated."]
    assert "Nothing to judge" in make_report(summary, empty)


@pytest.mark.skipif(find_browser() is None, reason="found no browser: install chromium or set CHROMIUM")
def test_the_page_fits_a_phone_and_is_quiet(tmp_path):
    page = tmp_path / "report.html"
    page.write_text(make_report(*evaluated(), TRAINING), encoding="utf-8")
    looks = [(390, "dark"), (1280, "light")]
    for (width, scheme), seen in zip(looks, asyncio.run(view(find_browser(), page, tmp_path, looks)), strict=True):
        assert seen.complaints == []
        assert (seen.measured["width"], seen.measured["scroll"], seen.measured["beyond"]) == (width, width, [])
        assert seen.measured["scheme"] == scheme
        assert seen.measured["letters"] >= 10
