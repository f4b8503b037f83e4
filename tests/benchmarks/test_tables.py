import dataclasses
import xml.etree.ElementTree as ET

import pytest

from benchmarks.case import BY_BATCH, BY_EVENT_SIZE, GOALS, Case
from benchmarks.contender import Description
from benchmarks.machine import Machine
from benchmarks.measurement import Measurement
from benchmarks.plot import plot
from benchmarks.report import Report, Skipped
from benchmarks.tables import markdown

MACHINE = Machine(cpu="Some CPU, 2.6 GHz", cores=2, system="Linux", python="3.11.0")


def measured(subject, quantity, milliseconds, case):
    return Measurement(subject=subject, quantity=f"{quantity} [s]", case=case, values=(milliseconds / 1e3,) * 3)


def report():
    cases = {*BY_BATCH, *BY_EVENT_SIZE, *(goal.case for goal in GOALS)}
    measurements = [
        measured(name, quantity, factor * scale, case)
        for case in cases
        for name, factor in (("exported", 1), ("tfp", 3), ("flowjax", 2))
        for quantity, scale in (("log_prob", 10), ("sample", 25))
    ]
    served = Case(event_size=8, condition_size=4, hidden=64, batch=1)
    measurements += [measured("dense", "log_prob", 8, case) for case in cases]
    measurements += [
        Measurement(subject=n, quantity="rows/s", values=(r,)) for n, r in (("score", 9e5), ("bare loop", 1e6))
    ]
    measurements += [Measurement(subject="export", quantity="export [s]", case=served, values=(12.5,))]
    measurements += [measured("no warm-up", "first log_prob", 900, served)]
    return Report(
        date="2026-01-31T00:00:00+00:00",
        suite="full",
        machine=MACHINE,
        threads=2,
        contenders=(Description(name="tfp", versions={"tensorflow": "2.21.0"}, mode="`tf.function`", weights="TFP's"),),
        measurements=tuple(measurements),
        skipped=(Skipped(subject="zuko", what="all", reason="No module named 'torch'"),),
        checks=(),
        implausible=(),
    )


def test_the_tables_say_what_was_measured_where_and_with_what():
    text = markdown(report())
    assert "2026-01-31, suite `full`: Some CPU, 2.6 GHz; 2 of 2 cores, Linux, Python 3.11.0" in text
    goal = "| 64, 16, 512x512, 1024 | 10.0 ± 0 % | 3.0x | 2.5x | 25.0 ± 0 % | 3.0x | 25x | 2.5 | ≤ 2.5 | 1.25 |"
    assert goal in text
    assert "| 1, 8, 128x128, 1024 | 10.0 ± 0 % | 30.0 ± 0 % (3.0x) | 20.0 ± 0 % (2.0x) |" in text
    assert "| bare loop: read, score, write, no Beam | 1,000,000 ± 0 % | 0.90x | ≥ 0.9x |" in text
    assert "| 8, 4, 64x64 | 12.5 |  |  | no warm-up |  | 900 ± 0 % |  |  |" in text
    assert "- zuko (all): No module named 'torch'" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_tables_without_rows_are_left_out():
    text = markdown(dataclasses.replace(report(), measurements=(), skipped=()))
    assert "###" not in text.replace("### Contenders", "")


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_picture_shows_every_contender_that_was_measured(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"performance{suffix}"
    plot(report(), path)
    assert path.stat().st_size > 10_000
    if suffix == ".svg":
        text = path.read_text()
        ET.fromstring(text)  # noqa: S314  # made here
        for name in ("exported (this toolkit)", "FlowJAX", "dense products"):
            assert f"<!-- {name} -->" in text
        assert "<!-- zuko -->" not in text
