"""`python -m export`: export a trained model for TF Serving."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from export.errors import OptionError
from export.publish import check_base, is_remote
from export.source import read_source
from maf_serving.batching import BatchingParameters
from maf_serving.command import run_command
from maf_serving.quiet_tensorflow import import_quietly

DESCRIPTION = """Exports a trained model as a SavedModel for TensorFlow Serving, as the next version in a directory:
a run of python -m maf, or any distribution of TensorFlow Probability, as a function that builds it and a checkpoint.

  python -m export --run runs/demo --model_base models/demo
  python -m export --run runs/demo --model_base models/demo --warmup_batch_sizes 1,64 \\
      --per_model_batching --max_batch_size 64 --allowed_batch_sizes 8,64
  python -m export --builder flows.prices:build --checkpoint checkpoints/prices \\
      --event price,volume --condition season --model_base models/prices"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for an export that failed, 2 for usage."""
    return run_command(lambda: _export(arguments), left="nothing is published")


def _export(arguments: Sequence[str] | None) -> str:
    options = _parser().parse_args(arguments)
    batching = _batching(options)
    source = read_source(
        run=options.run,
        builder=options.builder,
        checkpoint=options.checkpoint,
        event=options.event,
        condition=options.condition,
        condition_columns=options.condition_columns,
    )
    if not is_remote(options.model_base):
        check_base(options.model_base, options.version)
    import_quietly()
    from export.report_table import format_report  # noqa: PLC0415  # TensorFlow takes seconds, --help must not

    exported = source.export(
        options.model_base,
        version=options.version,
        warmup_batch_sizes=options.warmup_batch_sizes,
        batching=batching,
    )
    return f"{format_report(exported.report)}\nversion: {exported.version_dir}"


_BATCHING = {
    "max_batch_size": "rows of the largest batch; by default 1000",
    "batch_timeout_micros": "how long a request waits for others",
    "num_batch_threads": "batches that run at the same time",
    "max_enqueued_batches": "batches that wait before requests are refused",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", type=Path, metavar="DIRECTORY", help="run directory of python -m maf")
    own = parser.add_argument_group("a model of your own, instead of --run")
    own.add_argument(
        "--builder",
        metavar="MODULE:FUNCTION",
        help="function without arguments that returns the untrained distribution, or a tuple of it and what was saved",
    )
    own.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="directory or prefix of a tf.train.Checkpoint, or a .weights.h5 file of Keras",
    )
    own.add_argument("--event", type=_names, metavar="COLUMN,...", help="event columns, x")
    own.add_argument(
        "--condition", type=_names, metavar="COLUMN,...", help="conditional columns, c; none: unconditional"
    )
    own.add_argument(
        "--condition_columns",
        type=Path,
        metavar="FILE",
        help="instead of --condition where categories or nulls are among them: the raw columns, a JSON list",
    )
    parser.add_argument(
        "--model_base",
        required=True,
        metavar="DIRECTORY",
        help="where the model's versions are; local or remote, gs://...",
    )
    parser.add_argument("--version", type=int, metavar="N", help="number of the version; by default the next")
    parser.add_argument(
        "--warmup_batch_sizes",
        type=_integers,
        default=(1,),
        metavar="N,N,...",
        help="rows of the requests that a server answers before it calls the version available; '' for none; "
        "by default 1",
    )
    batching = parser.add_argument_group("batching of this model (server: --enable_per_model_batching_parameters)")
    batching.add_argument("--per_model_batching", action="store_true", help="write batching_params.pbtxt")
    for name, text in _BATCHING.items():
        batching.add_argument(f"--{name}", type=int, metavar="N", help=text)
    batching.add_argument(
        "--allowed_batch_sizes",
        type=_integers,
        metavar="N,N,...",
        help="sizes to which batches are padded; the last is max_batch_size",
    )
    return parser


def _batching(options: argparse.Namespace) -> BatchingParameters | None:
    names = [*_BATCHING, "allowed_batch_sizes"]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.per_model_batching:
        return BatchingParameters(**given)
    if given:
        raise OptionError(f"--{next(iter(given))} has no effect without --per_model_batching; expected both or neither")
    return None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of integers; expected such as 1,64") from None


if __name__ == "__main__":
    sys.exit(main())
