"""`python -m benchmarks.latency`: what one call of a few rows costs over an empty model.

Small requests are ruled by what TensorFlow does around the mathematics: operations that it dispatches, functions that
it calls, threads that it wakes. SavedModels are loaded with the session-based loader that TF Serving uses and called
through `Session.make_callable`, in turns: ours, TFP's graph of equal weights (also compiled by XLA, which a server
refuses), and a straight line of ops as one would write them by hand, without masks and guards. An empty model with the
same inputs and outputs says what a call costs before anything is computed; figures are what is on top of that.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.interleaved import interleave
from maf_serving.quiet_tensorflow import import_with_probability

if TYPE_CHECKING:
    from benchmarks.latency_models import Shape

ROWS = (1, 16, 64, 1024)
SUBJECTS = ("exported", "tfp", "tfp_xla", "straight")
LEAST_ROUNDS = 7
WARM_UP = 5
Key = tuple[str, str, int]  # contender, quantity, rows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one call, in milliseconds."""

    p50: float
    p99: float
    cpu: float


def main() -> None:
    """Prints a table for each quantity."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=10, help="for each flow (default %(default)s)")
    add("--transform", choices=("affine", "spline"), help="only flows of this one")
    add("--event_size", type=int, help="only flows of so many columns")
    add("--rows", type=lambda text: tuple(map(int, text.split(","))), default=ROWS, metavar="N,...", help="batch sizes")
    add("--models", type=Path, help="folder to keep the SavedModels in, and to take them from")
    add("--inter_op", type=int, default=0, help="threads that run operations; 0 is one per core")
    add("--intra_op", type=int, default=0, help="threads inside of operations; 0 is one per core")
    arguments = parser.parse_args()
    import_with_probability()
    from benchmarks.latency_models import SHAPES  # noqa: PLC0415  # TensorFlow

    shapes = [
        shape
        for shape in SHAPES
        if arguments.transform in {None, shape.transform} and arguments.event_size in {None, shape.event_size}
    ]
    with contextlib.ExitStack() as stack:
        folder = arguments.models or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for shape in shapes:
            with _callables(shape, folder, arguments) as calls:
                print(table(shape, measure(calls, seconds=arguments.seconds)), flush=True)


def measure(calls: Mapping[Key, Callable[[], object]], *, seconds: float) -> dict[Key, Figures]:
    """Times the calls in turns."""
    times: dict[Key, list[float]] = {key: [] for key in calls}
    cpu: dict[Key, list[float]] = {key: [] for key in calls}

    def turn(key: Key) -> Callable[[int], list[float]]:
        def run(count: int) -> list[float]:
            calls[key]()  # what others left in the caches is theirs
            before = _cpu()
            found = [_seconds(calls[key]) for _ in range(count)]
            cpu[key].append((_cpu() - before) / count)
            times[key] += found
            return found

        return run

    medians = interleave({key: turn(key) for key in calls}, seconds=seconds, least_rounds=LEAST_ROUNDS)
    return {
        key: Figures(
            p50=1e3 * statistics.median(medians[key]),
            p99=1e3 * statistics.quantiles(times[key], n=100)[98],
            cpu=1e3 * statistics.median(cpu[key]),
        )
        for key in calls
    }


def table(shape: Shape, figures: Mapping[Key, Figures]) -> str:
    """One line for each quantity and number of rows: of the empty model, then what the others take on top of it."""
    subjects = [name for name in SUBJECTS if any(key[0] == name for key in figures)]
    header = ["rows", "empty", *(f"{name}: p50, p99, CPU" for name in subjects), "of TFP", "of straight", "of log_prob"]
    lines = [f"### {shape}, ms over the empty model", ""]
    for quantity in dict.fromkeys(key[1] for key in figures):
        lines += [f"`{quantity}`", "", _line(header), "|" + " --- |" * len(header)]
        for rows in sorted({key[2] for key in figures}):
            empty = figures["empty", quantity, rows]
            over = {
                name: _over(figures[name, quantity, rows], empty)
                for name in subjects
                if (name, quantity, rows) in figures
            }
            ours = over["exported"].p50
            log_prob = figures["exported", "log_prob", rows].p50 - figures["empty", "log_prob", rows].p50
            cells = [f"{o.p50:.3f}, {o.p99:.3f}, {o.cpu:.3f}" if (o := over.get(name)) else "" for name in subjects]
            ratios = [f"{ours / over[name].p50:.2f}" if name in over else "" for name in ("tfp", "straight")]
            share = f"{ours / log_prob:.2f}" if quantity != "log_prob" else ""
            lines.append(_line([str(rows), f"{empty.p50:.3f}", *cells, *ratios, share]))
        lines.append("")
    return "\n".join(lines)


@contextlib.contextmanager
def _callables(shape: Shape, folder: Path, arguments: argparse.Namespace) -> Iterator[dict[Key, Callable[[], object]]]:
    """Warm calls of everything there is of a shape; who cannot run (XLA, where it is not linked) is left out."""
    import tensorflow as tf  # noqa: PLC0415

    from benchmarks.latency_models import inputs, write_models  # noqa: PLC0415

    calls: dict[Key, Callable[[], object]] = {}
    config = tf.compat.v1.ConfigProto(
        inter_op_parallelism_threads=arguments.inter_op, intra_op_parallelism_threads=arguments.intra_op
    )
    with contextlib.ExitStack() as stack:
        for name, path in write_models(shape, folder).items():
            graph = stack.enter_context(tf.Graph().as_default())
            session = stack.enter_context(tf.compat.v1.Session(graph=graph, config=config))
            signatures = tf.compat.v1.saved_model.load(session, ["serve"], str(path)).signature_def
            for quantity, signature in signatures.items():
                if quantity.startswith("__"):
                    continue
                fetches = [tensor.name for tensor in signature.outputs.values()]
                function = session.make_callable(fetches, [tensor.name for tensor in signature.inputs.values()])
                for rows in arguments.rows:
                    arrays = inputs(shape, rows)
                    call = _bound(function, [arrays[key] for key in signature.inputs])
                    try:
                        for _ in range(WARM_UP):
                            call()
                    except tf.errors.OpError:
                        continue
                    calls[name, quantity, rows] = call
        yield calls


def _bound(function: Callable[..., object], arrays: Sequence[Any]) -> Callable[[], object]:
    return lambda: function(*arrays)


def _over(figures: Figures, empty: Figures) -> Figures:
    return Figures(p50=figures.p50 - empty.p50, p99=figures.p99 - empty.p99, cpu=figures.cpu - empty.cpu)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _seconds(call: Callable[[], object]) -> float:
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
