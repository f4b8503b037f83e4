import dataclasses

import numpy as np
import pytest

from maf_serving.calibration import (
    LEVELS,
    ColumnFit,
    Fit,
    column_verdict,
    critical_distance,
    findings_of,
    group_finding,
    joint_verdict,
)

REGION = "densest region"


def fit(*, rows=4_000, off=0.0, distance=0.01, columns=(0.01, 0.012), **values):
    return Fit(
        rows=rows,
        levels=tuple((level, min(level + off, 1.0)) for level in LEVELS),
        distance=distance,
        columns=tuple(ColumnFit(column=f"x{i}", distance=each) for i, each in enumerate(columns)),
        **values,
    )


def words(findings):
    return [(each.kind, f"{each.claim} {each.ground}".replace("\u00a0", " ")) for each in findings]


def test_a_calibrated_model_is_said_to_be_so_and_on_how_many_rows():
    assert words(findings_of(fit(), REGION)) == [
        ("good", "Calibrated: 5 of 5 levels within noise, all event columns together, on 4,000 rows."),
        ("good", "Each column for itself: 2 of 2 within noise."),
    ]


def test_columns_are_not_praised_where_the_joint_region_fails():
    joint, columns = findings_of(fit(off=0.033, distance=0.037), REGION)
    assert joint.kind == "bad"
    assert joint.claim == "Not calibrated, all event columns together:"
    assert "too wide, on 4,000 rows" in joint.ground
    assert columns.kind == "note"
    assert "what is off is how they go together" in columns.ground
    _, alone = findings_of(fit(off=0.033, distance=0.037, columns=(0.01,)), REGION)
    assert "the shape of its density" in alone.ground
    assert fit(off=0.033, distance=0.037).kind == "bad"


def test_regions_that_hold_too_little_are_too_narrow():
    (joint, _) = findings_of(fit(off=-0.1, distance=0.1), REGION)
    assert "too narrow" in joint.ground
    assert "0 of 5 levels" in joint.ground


def test_a_coverage_that_is_off_between_the_levels_is_not_calibrated():
    (joint, _) = findings_of(fit(distance=0.05), REGION)
    assert (joint.kind, joint_verdict(fit(distance=0.05))) == ("bad", "not calibrated, up to 5 points off")
    assert "5 of 5 levels within noise, but between them the coverage is up to 5 points off" in joint.ground


def test_of_very_many_rows_a_small_difference_is_small():
    joint, columns = findings_of(fit(rows=10_000_000, off=0.004, distance=0.004, columns=(0.003, 0.0001)), REGION)
    assert words([joint, columns]) == [
        (
            "fair",
            (
                "Nearly calibrated: all event columns together up to 0.4 points off, which is more than noise on "
                "10,000,000 rows, but small."
            ),
        ),
        (
            "fair",
            "Columns nearly calibrated: 1 of 2 within noise; worst is x0, shape a little off (KS 0.003, noise 0.000).",
        ),
    ]


def test_the_worst_column_is_named_and_how_it_is_off():
    off = ColumnFit(column="price", distance=0.06, mean=0.55, spread=1.1)
    found = dataclasses.replace(fit(), columns=(*fit().columns, off))
    joint, columns = findings_of(found, REGION)
    assert joint.claim == "Calibrated as a whole:"
    assert columns.kind == "bad"
    assert columns.claim == "2 of 3 columns calibrated:"
    assert "worst is price, predicted too low and predicted too narrow (KS 0.060, noise 0.025)" in columns.ground
    assert [column_verdict(each, found) for each in found.columns[1:]] == [
        "calibrated, as far as can be told",
        "predicted too low and predicted too narrow",
    ]


def test_columns_that_are_calibrated_do_not_hide_that_together_they_are_not():
    found = dataclasses.replace(fit(distance=0.05), columns=(ColumnFit(column="x0", distance=0.2), *fit().columns))
    joint, columns = findings_of(found, REGION)
    assert joint.claim == "Not calibrated, all event columns together:"
    assert columns.claim == "2 of 3 columns calibrated, each for itself, which together are not:"


@pytest.mark.parametrize(
    ("mean", "spread", "direction"),
    [
        (0.45, 1.0, "predicted too high"),
        (0.5, 0.9, "predicted too wide"),
        (0.5, 1.0, "shape a little off"),
        (None, None, "shape a little off"),
    ],
)
def test_directions_in_words(mean, spread, direction):
    assert ColumnFit(column="x", distance=0.1, mean=mean, spread=spread).direction == direction


def test_the_worst_group_is_named():
    groups = [("north", fit()), ("south & <b>", fit(rows=400, columns=(0.2, 0.01)))]
    found = group_finding(groups, "region")
    assert (found.kind, found.claim) == ("bad", "1 of 2 values of region calibrated:")
    assert "worst is region = south & <b>, where x0 is shape a little off" in found.ground.replace("has a ", "is ")
    assert "400 rows" in found.ground
    assert group_finding(groups[:1], "region").kind == "good"
    assert group_finding([], "region") is None


def test_draws_have_noise_of_their_own():
    exact, drawn = fit(), fit(reference_rows=4_000)
    assert drawn.noise == pytest.approx(exact.noise * 2**0.5)
    assert drawn.level_noise(0.5) == pytest.approx(exact.level_noise(0.5) * 2**0.5)


def test_a_perfect_model_is_within_noise_in_95_of_100_cases():
    """Of 1,000 samples of 500 rows of two uniform columns and one uniform radius."""
    rng = np.random.default_rng(0)
    ranks = np.sort(rng.random((1_000, 3, 500)), axis=2)
    grid = np.arange(1, 501) / 500
    distances = np.maximum(np.abs(ranks - grid).max(axis=2), np.abs(ranks - grid + 1 / 500).max(axis=2))
    covered = np.stack([(ranks[:, 0] <= level).mean(axis=1) for level in LEVELS], axis=1)
    sound = [
        Fit(
            rows=500,
            levels=tuple(zip(LEVELS, shares, strict=True)),
            distance=joint,
            columns=tuple(ColumnFit(column=str(i), distance=each) for i, each in enumerate(columns)),
        ).kind
        == "good"
        for shares, (joint, *columns) in zip(covered.tolist(), distances.tolist(), strict=True)
    ]
    assert np.mean(sound) > 0.9


def test_the_critical_distance_is_kolmogorovs():
    assert critical_distance(100, 0.05) == pytest.approx(0.1358, abs=1e-4)
