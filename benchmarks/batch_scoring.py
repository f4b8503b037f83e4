"""`python -m benchmarks.batch_scoring`: `beam_jobs.score` against a bare loop, and against a dictionary for each row.

The bare loop reads, scores and writes the same Parquet rows with the same SavedModel and batch size, into files of the
same layout, without Beam: one batch after the other, on all cores as far as Arrow and TensorFlow use them. The usual
way is Beam's own: Parquet rows as dictionaries, `RunInference`, dictionaries to Parquet. Each is run on two sizes, in
turn, and its rows/s are those of the difference, so start-up does not count. Two minutes or so on two cores;
`--memory` adds the peak memory of the command on `--rows` and on four times as many, and as much time again.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measurement import Measurement
from benchmarks.usual_way import score_dictionaries
from maf_serving.quiet_tensorflow import import_with_probability

EVENT, CONDITION = [f"x{i}" for i in range(8)], [f"c{i}" for i in range(4)]
LAYERS, HIDDEN = 5, [64, 64]
SMALL = 10  # the small size is this part of the large one
ROW_GROUP_ROWS = 1 << 17
BATCH_SIZE = 16384
BARE_TARGET, DICTIONARIES_TARGET, MEMORY_TARGET = 0.9, 6.0, 1.15


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """One of the ways to score: a function of the input file and the output directory, and the rows it is run on."""

    score: Callable[[str, str], None]
    rows: int


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_scoring", description=__doc__)
    add = parser.add_argument
    add("--rows", type=int, default=5_000_000, help="for score and the bare loop (default %(default)s)")
    add("--dictionary_rows", type=int, default=200_000, help="for the usual way (default %(default)s)")
    add("--batch_size", type=int, default=BATCH_SIZE, help="default %(default)s")
    add("--repeats", type=int, default=3, help="of each measurement; the median counts (default %(default)s)")
    add("--memory", action="store_true", help="measure peak memory, too")
    arguments = parser.parse_args()
    import_with_probability()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        model = _export(work)
        rates = {
            rate.subject: rate.median
            for rate in _measure(
                model, work, arguments.rows, arguments.dictionary_rows, arguments.repeats, arguments.batch_size
            )
        }
        for name, rate in rates.items():
            print(f"{name:12}  {rate:12,.0f} rows/s")
        print(f"score / bare loop     {rates['score'] / rates['bare loop']:6.2f}  goal {BARE_TARGET}")
        print(f"score / dictionaries  {rates['score'] / rates['dictionaries']:6.2f}  goal {DICTIONARIES_TARGET}")
        if arguments.memory:
            _print_memory(model, work, arguments.rows)


def measure_scoring(*, rows: int, dictionary_rows: int, repeats: int) -> list[Measurement]:
    """Rows/s of `score`, of the bare loop and of one dictionary for each row, start-up excluded."""
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        return _measure(_export(work), work, rows, dictionary_rows, repeats)


def _measure(
    model: str, work: Path, rows: int, dictionary_rows: int, repeats: int, batch_size: int = BATCH_SIZE
) -> list[Measurement]:
    ways = {
        "score": Way(lambda i, o: _score(model, i, o, batch_size), rows),
        "bare loop": Way(lambda i, o: _bare_loop(model, i, o, batch_size), rows),
        "dictionaries": Way(lambda i, o: score_dictionaries(model, i, o, EVENT, CONDITION), dictionary_rows),
    }
    return [
        Measurement(subject=name, quantity="rows/s", values=tuple(values))
        for name, values in _rows_per_second(ways, work, repeats).items()
    ]


def _rows_per_second(ways: dict[str, Way], work: Path, repeats: int) -> dict[str, list[float]]:
    """For each repeat, by the difference between the times of a large and of a small number of rows."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        _seconds(way, way.rows // SMALL, work)  # warms up
    for _ in range(repeats):
        for name, way in ways.items():
            small, large = (_seconds(way, rows, work) for rows in (way.rows // SMALL, way.rows))
            rates[name].append((way.rows - way.rows // SMALL) / (large - small))
    return rates


def _seconds(way: Way, rows: int, work: Path) -> float:
    source, output = _make_rows(work, rows), work / "out"
    start = time.perf_counter()
    way.score(str(source), str(output))
    elapsed = time.perf_counter() - start
    shutil.rmtree(output)
    return elapsed


def _export(work: Path) -> str:
    import tensorflow as tf  # noqa: PLC0415  # after the quiet import
    from tensorflow_probability import bijectors as tfb  # noqa: PLC0415
    from tensorflow_probability import distributions as tfd  # noqa: PLC0415

    from export import export_saved_model  # noqa: PLC0415
    from maf.layers import create_named_maf  # noqa: PLC0415

    layers = [
        create_named_maf(f"maf_{i}", HIDDEN, event_size=len(EVENT), condition_size=len(CONDITION))
        for i in range(LAYERS)
    ]
    base = tfd.MultivariateNormalDiag(tf.zeros([len(EVENT)]))
    distribution = tfd.TransformedDistribution(base, tfb.Chain(layers))
    version = export_saved_model(
        distribution, work / "model", event_columns=EVENT, conditional_columns=CONDITION, warmup_batch_sizes=()
    )
    return str(version)


def _make_rows(work: Path, rows: int) -> Path:
    """A Parquet file of so many rows, float32; the same at each call."""
    path = work / f"rows-{rows}.parquet"
    if path.exists():
        return path
    generator = np.random.default_rng(0)
    schema = pa.schema([(name, pa.float32()) for name in (*EVENT, *CONDITION)])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, ROW_GROUP_ROWS):
            count = min(ROW_GROUP_ROWS, rows - start)
            values = {name: generator.normal(size=count).astype(np.float32) for name in schema.names}
            writer.write_table(pa.table(values, schema))
    return path


def _score(model: str, source: str, output: str, batch_size: int) -> None:
    from beam_jobs import ScoreOptions, score_table  # noqa: PLC0415

    score_table(ScoreOptions(model=model, input_patterns=(source,), output=output, batch_size=batch_size))


def _bare_loop(model: str, source: str, output: str, batch_size: int) -> None:
    """Reads, scores and writes batch after batch; row groups and encodings of the result are those of `score`."""
    import tensorflow as tf  # noqa: PLC0415

    loaded = tf.saved_model.load(model)
    log_prob = loaded.signatures["log_prob"]
    schema = pa.schema([("file", pa.string()), ("row", pa.int64()), ("log_prob", pa.float32())])
    Path(output).mkdir()
    row = 0
    pending: list[pa.RecordBatch] = []
    with (
        pq.ParquetFile(source) as file,
        pq.ParquetWriter(Path(output) / "scored.parquet", schema, use_dictionary=["file"]) as writer,
    ):
        for batch in file.iter_batches(batch_size, columns=[*EVENT, *CONDITION]):
            x, c = (np.column_stack([batch.column(name) for name in names]) for names in (EVENT, CONDITION))
            scored = log_prob(x=tf.constant(x), conditional_input=tf.constant(c))["log_prob"].numpy()
            rows = np.arange(row, row + len(scored))
            row += len(scored)
            columns = [pa.repeat(source, len(scored)), pa.array(rows), pa.array(scored)]
            pending.append(pa.RecordBatch.from_arrays(columns, schema=schema))
            if len(pending) * batch_size >= ROW_GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(pending))
                pending = []
        if pending:
            writer.write_table(pa.Table.from_batches(pending))


def _print_memory(model: str, work: Path, rows: int) -> None:
    peaks = []
    for count in (rows, 4 * rows):
        source, output = _make_rows(work, count), work / "out"
        command = [sys.executable, "-m", "beam_jobs.score", f"--model={model}", f"--input={source}"]
        peaks.append(_peak_mebibytes([*command, f"--output={output}"]))
        shutil.rmtree(output)
        print(f"peak memory at {count:12,} rows  {peaks[-1]:8,.0f} MiB")
    print(f"ratio                 {peaks[1] / peaks[0]:6.2f}  goal {MEMORY_TARGET}")


def _peak_mebibytes(command: list[str]) -> float:
    quiet: Any = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    process = os.posix_spawn(command[0], command, os.environ, file_actions=[quiet])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
