"""Whether a version is good enough to be promoted: both versions are asked about the rows of a table first.

    the version that gets the label --+
    the version that has it now ------+-> maf-serving compare -> _summary.json -> passes, or `JobError`

The comparison is the command `maf-serving compare`, in a process of its own: a rollout itself needs no TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving_config.errors import JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serving_config.labels.options import Gate

_COMPARE = "beam_jobs.compare"
_COMPARED = (0, 3)  # exit statuses of a comparison that was made: no worse, worse
_USAGE = 2
_QUOTE = '"'


def check_gate(
    gate: Gate, *, model_name: str, base_path: str, version: int, previous: int | None, say: Callable[[str], object]
) -> None:
    """Compares a version with the one before it; returns if it may have the label.

    A version is refused that loses more rows than the other one by more than chance, or whose mean NLL is above that of
    the other by more than noise, and by more than `gate.max_regression`.

    Args:
      gate: the rows, and what is done of a version that is worse.
      model_name: of the model.
      base_path: where the server has its versions; where they are on this machine, if `gate` does not say.
      version: the one that is to get the label.
      previous: the one that has it; `None` for a new label.
      say: gets a line for each step.

    Raises:
      UsageError: there is nothing to compare with, or the versions, the table and the gate do not fit together.
      JobError: the version is refused, or the comparison failed.
    """
    if previous is None:
        raise UsageError(
            "--gate compares with the version that the label is on, and it is on none yet; assign it to one first, or "
            "leave out --gate"
        )
    base = str(gate.model_base or base_path).rstrip("/")
    places = [_find_version(base, each, model_name) for each in (version, previous)]
    say(f"compare version {version} of model {model_name} with version {previous} on {','.join(gate.inputs)}")
    with _output(gate) as output:
        summary = _compare(places, gate, output)
    found = _figures(summary)
    if not _is_refused(summary, gate):
        say(f"version {version} passes: {found}")
        return
    reason = f"version {version} of model {model_name} is worse than version {previous}: {found}"
    if gate.on_worse == "promote":
        say(f"{reason}; promoted all the same, for --override_gate")
        return
    raise JobError(
        f"{reason}; --max_regression allows {gate.max_regression:g} nats. Nothing was changed: keep version "
        f"{previous}, or say --override_gate"
    )


def _find_version(base: str, version: int, model_name: str) -> str:
    place = f"{base}/{version}"
    if "://" not in place and not Path(place).is_dir():
        raise UsageError(
            f"--gate needs version {version} of model {model_name}, and {place} is no directory of this machine; say "
            "where its versions are with --model"
        )
    return place


@contextlib.contextmanager
def _output(gate: Gate) -> Iterator[str]:
    if gate.output is not None:
        yield str(gate.output)
        return
    with tempfile.TemporaryDirectory(prefix="maf-serving-") as directory:
        yield f"{directory}/comparison"


def _compare(places: list[str], gate: Gate, output: str) -> dict[str, Any]:
    """The `_summary.json` of the comparison."""
    inputs = [f'"{each.replace(_QUOTE, 2 * _QUOTE)}"' for each in gate.inputs]
    flags = ["--model", places[0], "--baseline", places[1], "--output", output, "--input", ",".join(inputs)]
    root = str(Path(__file__).parents[2])  # of all packages, wherever this process found them
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(  # noqa: S603  # a command of ours
        [sys.executable, "-m", _COMPARE, *flags],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode not in _COMPARED:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        error = UsageError if done.returncode == _USAGE else JobError
        raise error(f"--gate {','.join(gate.inputs)}: {lines[-1].removeprefix('error: ')}; no label has been moved")
    summary: dict[str, Any] = json.loads(Path(output, "_summary.json").read_text(encoding="utf-8"))
    return summary


def _is_refused(summary: dict[str, Any], gate: Gate) -> bool:
    overall = summary["overall"]
    if overall["nll_difference"] is None or overall["loses_rows"]:
        return True
    return summary["verdict"] == "worse" and bool(overall["nll_difference"] > gate.max_regression)


def _figures(summary: dict[str, Any]) -> str:
    overall = summary["overall"]
    if overall["nll_difference"] is None:
        return f"none of {summary['rows_read']:,} rows has a density by both"
    noise = "" if overall["standard_error"] is None else f" ± {overall['standard_error']:.4f}"
    gap = f"mean NLL {overall['nll_difference']:+.4f}{noise} nats per row on {overall['rows']:,} rows"
    lost = overall["refused"]["model"] + overall["zero_density"]["model"]
    return gap + (f", and {lost:,} rows of {summary['rows_read']:,} lost" if lost else "")
