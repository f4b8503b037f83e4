"""The program `maf-serving`, and `python -m maf_serving`: every command of the toolkit under one name.

    maf-serving score --model models/sales --input 'new-*.parquet' --output out/scores

A command is found by name in `COMMANDS` and imported when it is called: its `main` reads the command line, so that help
and errors call it `maf-serving score`. Each is a module that `python -m` runs as well.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from maf_serving.command import run_command
from maf_serving.errors import UsageError
from maf_serving.flags import PROGRAM

COMMANDS = {
    "train": ("maf.__main__", "train a flow p(x | c) on a table, into a run directory"),
    "search": ("maf.search.__main__", "try configurations for a given time, and keep the best run"),
    "report": ("maf.report.__main__", "a run as one HTML page: quality, pictures, how to serve it"),
    "export": ("export.__main__", "export a run, or any TFP distribution, as the next version of a model"),
    "verify": ("export.verify", "check an exported version, against its run or against itself"),
    "score": ("beam_jobs.score", "log p(x | c) for every row of a table of any size"),
    "sample": ("beam_jobs.sample", "draws from p(x | c) for every row of a table of conditions"),
    "summarize": ("beam_jobs.summarize", "mean, standard deviation and quantiles for every row of conditions"),
    "evaluate": ("beam_jobs.evaluate", "how well the model describes a table, as numbers and a page"),
    "compare": ("beam_jobs.compare", "whether a model is better than another on the same rows"),
    "drift": ("beam_jobs.drift", "whether new rows are like those of training"),
    "config": ("serving_config.__main__", "files for TensorFlow Serving, Docker, Kubernetes, Prometheus"),
    "serve": ("serving_config.serve", "serve models over gRPC and REST"),
    "client": ("serving_config.client.__main__", "send the rows of a table to a server"),
    "rollout": ("serving_config.rollout", "move a version label of a running server"),
    "tune": ("serving_config.tune", "measure a model, and propose batching parameters"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0, 1 for one that failed, 2 for usage, 128 and more for a signal."""
    command, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["help"]
    if command == "help" and rest:
        command, rest = rest[0], ["--help"]
    if command in COMMANDS:
        module, _ = COMMANDS[command]
        sys.argv = [f"{PROGRAM} {command}", *rest]  # which help and errors call the command
        status: int = importlib.import_module(module).main(rest)
        return status
    return run_command(lambda: _answer(command))


def _answer(command: str) -> str:
    if command in ("help", "--help", "-h"):
        return _help()
    if command == "--version":
        from importlib.metadata import version  # noqa: PLC0415  # slow, and for this alone

        return f"{PROGRAM} {version(PROGRAM)}"
    close = difflib.get_close_matches(command, [*COMMANDS, "help", "--help", "--version"], n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(COMMANDS)}"
    raise UsageError(f"unknown command {command!r}; {hint} (see {PROGRAM} --help)")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [options]",
            "",
            "Trains, exports, serves and batch-scores conditional masked autoregressive flows p(x | c).",
            "",
            *lines,
            "",
            f"{PROGRAM} COMMAND --help   what a command takes",
            f"{PROGRAM} --version        of this toolkit",
        ]
    )
