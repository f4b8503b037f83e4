import importlib.util

import pytest

from benchmarks.case import Case
from benchmarks.contender import ContenderError, start
from benchmarks.machine import this_machine
from benchmarks.measurement import find
from benchmarks.race import Race
from benchmarks.report import Report, from_json
from benchmarks.tables import markdown

CASES = (
    Case(event_size=1, condition_size=1, hidden=8, batch=4),
    Case(event_size=1, condition_size=1, hidden=8, batch=1024),
)
NAMES = ("exported", "tfp", "zuko", "dense")


@pytest.fixture(scope="module")
def race():
    race = Race()
    race.run(NAMES, CASES, threads=1, interpreters=(), seconds=0.2)
    return race


@pytest.fixture
def report(race):
    return Report(
        date="2026-01-31T00:00:00+00:00",
        suite="quick",
        machine=this_machine(),
        threads=1,
        contenders=tuple(race.contenders),
        measurements=tuple(race.measurements),
        skipped=tuple(race.skipped),
        checks=tuple(race.checks),
        implausible=tuple(race.implausible),
    )


def test_all_that_are_installed_are_checked_and_timed_on_every_case(race):
    assert race.implausible == set()
    for case in CASES:
        for name, quantity in (
            ("exported", "log_prob"),
            ("exported", "sample"),
            ("tfp", "sample"),
            ("dense", "log_prob"),
        ):
            found = find(race.measurements, name, f"{quantity} [s]", case)
            assert found is not None
            assert len(found.values) >= 5
            assert 0 < found.median < 1
    assert find(race.measurements, "dense", "sample [s]", CASES[0]) is None
    (checked,) = [line for line in race.checks if line.startswith("exported")]
    assert "of tfp's" in checked
    assert "Stein's figure" in checked
    assert "mass 1.0" in checked or "mass 0.99" in checked


@pytest.mark.skipif(importlib.util.find_spec("zuko") is not None, reason="zuko is installed here")
def test_who_is_not_installed_is_skipped_by_name(race, report):
    (skipped,) = race.skipped
    assert (skipped.subject, skipped.what) == ("zuko", "all")
    assert skipped.reason.startswith("No module named")
    assert "- zuko (all): No module named" in markdown(report)
    assert "zuko" not in {contender.name for contender in report.contenders}


def test_a_report_comes_back_from_its_json(report):
    text = report.to_json()
    assert from_json(text) == report
    assert '"median"' in text


def test_a_worker_that_dies_is_an_error_and_not_a_hang():
    contender = start("dense", threads=1)
    with pytest.raises(ContenderError, match="expected at least 1"):  # an error that it survives
        contender._ask("build", event_size=0, condition_size=1, hidden=8, batch=4)
    assert contender.build(CASES[0]) == ["log_prob"]
    contender._process.kill()
    with pytest.raises(ContenderError, match="the worker ended"):
        contender.build(CASES[0])
    contender.close()
