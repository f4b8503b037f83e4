"""Jobs on a Spark of a driver and two executors in processes of their own: the rows, draws and counts of Beam.

One test starts the cluster and does all that needs one: each start costs as much as the rest.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from beam_jobs import JobError, SampleOptions, ScoreOptions, UsageError
from beam_jobs.runner import spark as engine
from maf_serving.spark import require_spark, spark_reason, start_spark
from tests.beam_jobs.conftest import MINUS_INFINITY_AT, PLUS_INFINITY_AT

ROWS = int(os.environ.get("SPARK_ROWS", "10000"))
KEYS = ["file", "row"]
pytestmark = pytest.mark.filterwarnings(
    "ignore:PySpark does not yet fully support pandas",
    "ignore::ResourceWarning",  # sockets of Py4J
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture
def cluster():
    pytest.importorskip("pyspark")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java, which is not here")
    settings = {
        "spark.sql.files.maxPartitionBytes": "150k",
        "spark.task.maxFailures": "2",
        "spark.sql.files.openCostInBytes": "0",
    }
    session, _ = start_spark("local-cluster[2,1,1024]", settings | {"spark.ui.enabled": "false"})
    yield session
    session.stop()


class KillingTask(engine.SparkTask):
    """The first task that has used a batch kills its executor: no other does, nor does the same again."""

    def __call__(self, batches):
        return engine.SparkTask.__call__(self, self._until_killed(batches))

    def _until_killed(self, batches):
        import os  # noqa: PLC0415  # the class goes to the worker without its module
        from pathlib import Path  # noqa: PLC0415

        for batch in batches:
            yield batch
            try:
                Path(self.directory).with_name("killed").touch(exist_ok=False)
            except FileExistsError:
                continue
            daemon = os.getppid()
            os.kill(int(Path(f"/proc/{daemon}/stat").read_text().rpartition(")")[2].split()[1]), 9)


def write_rows(directory: Path) -> Path:
    """Two files whose names need escapes, below partitions, with damaged rows among them."""
    rng = np.random.default_rng(0)
    for region, rows in (("1", ROWS // 4), ("2", ROWS - ROWS // 4)):
        columns = {name: rng.normal(size=rows) for name in ("x0", "c0")}
        columns["x0"][::97], columns["x0"][1::1009], columns["c0"][::89] = np.nan, PLUS_INFINITY_AT, np.inf
        columns["x0"][2::1013] = MINUS_INFINITY_AT
        x1 = pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.01)
        place = directory / f"region={region}"
        place.mkdir(parents=True)
        table = pa.table({**columns, "x1": x1, "id": [f"{region}/{i}" for i in range(rows)]})
        pq.write_table(table, place / "a b%20.parquet", row_group_size=max(1000, rows // 8))
    return directory


def read(directory: Path, prefix: str, keys=KEYS) -> pa.Table:
    return pq.ParquetDataset(sorted(directory.glob(f"{prefix}-*"))).read().sort_by([(key, "ascending") for key in keys])


def close(one: pa.Table, other: pa.Table) -> None:
    assert one.schema == other.schema
    for name in one.schema.names:
        if pa.types.is_floating(one[name].type):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-6)
        else:
            assert one[name].equals(other[name]), name


COUNTS = ("rows_read", "rows_scored", "rows_rejected", "rejected_by_kind", "input_files")


def same_counts(one, other) -> None:
    assert {name: getattr(one, name) for name in COUNTS} == {name: getattr(other, name) for name in COUNTS}


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_gives_the_rows_draws_and_counts_of_beam(cluster, model_base, tmp_path, monkeypatch):
    rows = write_rows(tmp_path / "rows")
    common = {"rows_per_call": 1000, "keep": ["id"]}
    expected = ms.score(model_base, rows, output=tmp_path / "beam", **common)
    here = {**common, "engine": "spark"}
    kill_an_executor(monkeypatch)
    scored = ms.score(model_base, rows, output=tmp_path / "spark", **here)
    assert (tmp_path / "killed").exists()
    monkeypatch.undo()
    same_counts(scored, expected)
    assert scored.rows_with_zero_density == expected.rows_with_zero_density > 0
    assert scored.mean_log_prob == pytest.approx(expected.mean_log_prob)
    assert sorted(path.name for path in (tmp_path / "spark").iterdir()) == sorted(
        ["_summary.json", *scored.output_files]
    )
    close(read(tmp_path / "spark", "scored"), read(tmp_path / "beam", "scored"))
    close(read(tmp_path / "spark", "_rejected"), read(tmp_path / "beam", "_rejected"))

    again = ms.score(model_base, rows, output=tmp_path / "again", **here)
    assert again.rows_scored == scored.rows_scored
    assert read(tmp_path / "again", "scored").equals(read(tmp_path / "spark", "scored"))

    seeded = {"num_samples": 2, "seed": 7}
    expected = ms.sample(model_base, rows, output=tmp_path / "beam_draws", **common, **seeded)
    drawn = ms.sample(model_base, rows, output=tmp_path / "draws", **here, **seeded)
    same_counts(drawn, expected)
    by_draw = [*KEYS, "draw"]
    close(read(tmp_path / "draws", "samples", by_draw), read(tmp_path / "beam_draws", "samples", by_draw))

    a_table_of_the_catalogue(cluster, model_base, rows, tmp_path)
    a_job_of_ones_own(cluster, model_base, rows, read(tmp_path / "spark", "scored"))
    a_worker_without_the_package(cluster, model_base, rows, tmp_path)


def kill_an_executor(monkeypatch):
    from pyspark import cloudpickle  # noqa: PLC0415  # an extra

    cloudpickle.register_pickle_by_value(sys.modules[KillingTask.__module__])
    monkeypatch.setattr(engine, "SparkTask", KillingTask)


def a_table_of_the_catalogue(cluster, model_base, rows, tmp_path):
    cluster.read.parquet(str(rows / "region=1")).createOrReplaceTempView("sales")
    with pytest.raises(UsageError, match=r"--input table:sales: .* name a --key_column"):
        ms.sample(model_base, "table:sales", output=tmp_path / "no", num_samples=1, seed=1, engine="spark")
    keyed = {"num_samples": 1, "seed": 1, "key_column": "id", "keep": ["id"]}
    drawn = ms.sample(model_base, "table:sales", output=tmp_path / "table", engine="spark", **keyed)
    assert drawn.rows_read == ROWS // 4
    fn = ms.load(model_base).batch_function("sample", **keyed)
    told = fn(cluster.table("sales").toArrow()).sort_by("id")
    told = told.filter(pc.is_null(told["reason"]))
    samples = read(tmp_path / "table", "samples", ["id"])
    assert samples["id"].to_pylist() == told["id"].to_pylist()
    np.testing.assert_allclose(samples["x0"], told["x0"], rtol=1e-6, atol=1e-6)
    with pytest.raises(UsageError, match=r"--input table:none cannot be read by Spark: .*none"):
        ms.score(model_base, "table:none", output=tmp_path / "no", engine="spark")


def a_job_of_ones_own(cluster, model_base, rows, scored):
    frame = cluster.read.parquet(str(rows)).select("id", "x0", "x1", "c0")
    model = ms.load(model_base)
    fn = model.batch_function("score", keep=["id"], input_schema=frame, threads=1).sent_to(cluster)
    fn.model += "-as-it-is-called-elsewhere"  # so that the one that was sent is read
    answers = frame.mapInArrow(fn, fn.spark_schema).toArrow()
    assert answers.num_rows == ROWS
    good = answers.filter(pc.is_null(answers["reason"])).sort_by("id")
    expected = scored.sort_by("id")
    assert good["id"].to_pylist() == expected["id"].to_pylist()
    np.testing.assert_allclose(good["log_prob"], expected["log_prob"], rtol=1e-6, atol=1e-6)


def a_worker_without_the_package(cluster, model_base, rows, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('maf_serving', 'beam_jobs'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:$PYTHONPATH exec {sys.executable} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    context = cluster.sparkContext
    context.pythonExec, usual = str(python), context.pythonExec
    try:
        with pytest.raises(
            JobError, match=r"the Python of a worker has no (maf_serving|beam_jobs); install maf-serving"
        ) as told:
            ms.score(model_base, rows, output=tmp_path / "no", engine="spark")
    finally:
        context.pythonExec = usual
    assert "\n" not in str(told.value)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("no")]


def test_what_went_wrong_is_one_line():
    trace = "Traceback (most recent call last):\n  File 'a.py'\nmaf_serving.errors.JobError: the disk is full\n"
    assert spark_reason(RuntimeError(trace)) == "the disk is full"
    other = "Traceback (most recent call last):\n  File 'a.py'\nValueError: 3 rows\n\n\tat org.apache.spark"
    assert spark_reason(RuntimeError(other)) == "ValueError: 3 rows"
    assert spark_reason(RuntimeError("[PATH_NOT_FOUND] Path does not exist:\n file:/none")).startswith(
        "[PATH_NOT_FOUND] Path"
    )


def test_without_java_or_pyspark_it_says_so(monkeypatch):
    pytest.importorskip("pyspark")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(UsageError, match="Spark needs Java 17 or later, but /nowhere/bin/java is no program here"):
        require_spark()
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(UsageError, match=r"needs the package pyspark, .* install maf-serving\[spark\]"):
        require_spark()


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"on_bad_file": "reject"}, "on_bad_file"),
        ({"num_shards": 2}, "num_shards"),
        ({"input_format": "csv"}, "input_format"),
    ],
)
def test_options_of_beam_are_refused(options, flag, tmp_path):
    options = ScoreOptions(
        model="m", input_patterns=("a.parquet",), output=str(tmp_path / "o"), engine="spark", **options
    )
    with pytest.raises(UsageError, match=f"--{flag} came with --engine spark"), engine.start_engine(options):
        pass


def test_options_of_spark_are_refused_without_it(model_base):
    with pytest.raises(UsageError, match="--master or --conf came without --engine spark"):
        SampleOptions(model="m", input_patterns=("a",), output="o", num_samples=1, seed=1, master="local[2]")
    with pytest.raises(UsageError, match="beam_flags came with engine='spark': --runner=FlinkRunner"):
        ms.score(model_base, "a.parquet", output="o", engine="spark", beam_flags=["--runner=FlinkRunner"])
