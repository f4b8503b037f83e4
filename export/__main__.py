"""`python -m export`, `maf-serving export`: export a trained model for TF Serving."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from export.contract import WARM
from export.errors import OptionError, PublishError
from export.publish import check_base, is_remote
from export.source import ALL, DEVICES, QUANTILE_LEVELS, SUMMARY_DRAWS, ExportOptions, read_source
from maf_serving.batching import BatchingParameters
from maf_serving.command import run_command, say, show
from maf_serving.flags import CommandParser, fractions, integers, names
from maf_serving.quiet_tensorflow import import_with_probability

DESCRIPTION = """Exports a trained model as a SavedModel for TensorFlow Serving, as the next version in a directory:
a run of maf-serving train, or any distribution of TensorFlow Probability: a function that builds it, and a checkpoint.

  %(prog)s --run runs/demo --model models/demo
  %(prog)s --run runs/demo --model models/demo --warmup_batch_sizes 1,64 \\
      --enable_batching --max_batch_size 64 --allowed_batch_sizes 8,64
  %(prog)s --builder flows.prices:build --checkpoint checkpoints/prices \\
      --event price,volume --condition season --model models/prices"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for an export that failed, 2 for usage."""
    return run_command(lambda: _export(arguments), left="nothing is published")


def _export(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    how = ExportOptions(
        version=options.version,
        signatures=options.signatures,
        warmup_batch_sizes=options.warmup_batch_sizes,
        warmup_signatures=None if options.warmup_signatures == (ALL,) else options.warmup_signatures,
        quantile_levels=options.quantile_levels,
        summary_draws=options.summary_draws,
        device=options.device,
        batching=_batching(options),
    )
    source = read_source(
        run=options.run,
        builder=options.builder,
        checkpoint=options.checkpoint,
        event=options.event,
        condition=options.condition,
        condition_spec=options.condition_spec,
    )
    if not is_remote(options.model):
        try:
            check_base(options.model, options.version)
        except PublishError as error:  # nothing has been started
            raise OptionError(str(error)) from error
    say("starting TensorFlow, and reading the model")
    import_with_probability()
    from export.saved_model import export_model  # noqa: PLC0415  # TensorFlow takes seconds, --help must not
    from export.verification.version import format_report  # noqa: PLC0415

    exported = export_model(source.load(), options.model, how, announce=say)
    status = show(f"{format_report(exported.report)}\nversion: {exported.version_dir}")
    model, name = shlex.quote(options.model), shlex.quote(Path(options.model.rstrip("/")).name)
    say(f"next     maf-serving serve --model {model} --model_name {name}")
    say(f"         maf-serving score --model {model} --input FILES --output out/{name}/scores")
    return status


_BATCHING = {
    "max_batch_size": "rows of the largest batch; by default 1000",
    "batch_timeout_micros": "how long a request waits for others",
    "num_batch_threads": "batches that run at the same time",
    "max_enqueued_batches": "batches that wait before requests are refused",
}


def _parser() -> CommandParser:
    parser = CommandParser("export", DESCRIPTION, usage="%(prog)s --run DIR --model DIR [options]")
    add = parser.add_argument
    add("--run", type=Path, metavar="DIR", help="run directory of maf-serving train")
    add("--model", required=True, metavar="DIR", help="where the model's versions are; local or remote, gs://...")
    add("--version", type=int, metavar="N", help="number of the version; by default the next")
    add(
        "--warmup_batch_sizes",
        type=integers,
        default=(1,),
        metavar="N,N,...",
        help="rows of the requests that a server answers before it calls the version available; '' for none; "
        "by default 1",
    )
    add(
        "--warmup_signatures",
        type=names,
        default=WARM,
        metavar="NAMES",
        help="signatures of these requests, or all: the first request of another takes a second or so; by default "
        + ",".join(WARM),
    )
    add(
        "--signatures",
        type=names,
        metavar="NAMES",
        help="signatures to offer beside log_prob and what others are made of; by default all that the model can have",
    )
    add(
        "--quantile_levels",
        type=fractions,
        default=QUANTILE_LEVELS,
        metavar="L,L,...",
        help="levels of the quantiles that `summarize` answers with; by default 0.05,0.25,0.5,0.75,0.95",
    )
    add(
        "--summary_draws",
        type=int,
        default=SUMMARY_DRAWS,
        metavar="N",
        help="draws of each row that `summarize` is made of, for several event columns; by default 1024",
    )
    add(
        "--device",
        choices=DEVICES,
        default=DEVICES[0],
        help="what the server computes with; gpu leaves out what runs on processors alone; by default cpu",
    )
    own = parser.add_argument_group("a model of your own, instead of --run").add_argument
    own(
        "--builder",
        metavar="MODULE:FUNCTION",
        help="function without arguments that returns the untrained distribution, or a tuple of it and what was saved",
    )
    own(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="directory or prefix of a tf.train.Checkpoint, or a .weights.h5 file of Keras",
    )
    own("--event", type=names, metavar="COLUMNS", help="event columns, x")
    own("--condition", type=names, metavar="COLUMNS", help="conditional columns, c; none: unconditional")
    own(
        "--condition_spec",
        type=Path,
        metavar="FILE",
        help="instead of --condition where categories or nulls are among them: the raw columns, a JSON list",
    )
    batching = parser.add_argument_group(
        "batching of this model (server: --enable_per_model_batching_parameters)"
    ).add_argument
    batching("--enable_batching", action="store_true", help="write batching_params.pbtxt")
    for name, text in _BATCHING.items():
        batching(f"--{name}", type=int, metavar="N", help=text)
    batching(
        "--allowed_batch_sizes",
        type=integers,
        metavar="N,N,...",
        help="sizes to which batches are padded; the last is max_batch_size",
    )
    parser.add_old_names(
        {
            "--model_base": "--model",
            "--per_model_batching": "--enable_batching",
            "--condition_columns": "--condition_spec",
        }
    )
    return parser


def _batching(options: argparse.Namespace) -> BatchingParameters | None:
    names = [*_BATCHING, "allowed_batch_sizes"]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.enable_batching:
        return BatchingParameters(**given)
    if given:
        raise OptionError(f"--{next(iter(given))} has no effect without --enable_batching; expected both or neither")
    return None


if __name__ == "__main__":
    sys.exit(main())
