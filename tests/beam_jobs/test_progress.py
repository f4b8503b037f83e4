"""What the terminal shows while a job runs."""

from __future__ import annotations

import io
import sys

from beam_jobs.jobs import summary
from tests.waiting import until


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(terminal, what):
    until(lambda: what in terminal.getvalue())


def test_a_terminal_shows_rows_and_how_many_were_rejected(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    summary.count_rejected(5)  # of a job before
    with summary.progress_bar(1_000):
        summary.count_rows(250)
        summary.count_rejected(1_234)
        shown(terminal, "1,234 rejected")
        shown(terminal, "25%")


def test_a_file_shows_nothing(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", file)
    with summary.progress_bar(10):
        summary.count_rows(10)
    assert file.getvalue() == ""
