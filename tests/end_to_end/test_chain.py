"""A plain TFP model and a trained run, each from its first function to the scored file."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from beam_jobs import ScoreOptions, score_table
from examples import five_layer_maf
from export import export_saved_model, read_contract
from maf import make_bijector_kwargs, read_run


def scored_log_probs(directory):
    tables = [pq.read_table(file, columns=["row", "log_prob"]) for file in sorted(directory.glob("scored-*.parquet"))]
    table = pa.concat_tables(tables).sort_by("row")
    return table["row"].to_numpy(), table["log_prob"].to_numpy()


def live_log_probs(distribution, x, c):
    kwargs = make_bijector_kwargs(distribution.bijector, {"conditional_input": tf.constant(c)})
    return distribution.log_prob(tf.constant(x), bijector_kwargs=kwargs).numpy()


def test_five_plain_layers_are_exported_and_scored(tmp_path):
    distribution = five_layer_maf.build()
    five_layer_maf.train(distribution, max_epochs=1)
    version = export_saved_model(
        distribution,
        tmp_path / "model",
        event_columns=["y"],
        conditional_columns=["c"],
        signatures=["log_prob"],
        warmup_batch_sizes=(),
    )
    assert version == tmp_path / "model" / "1"
    rows = five_layer_maf.make_rows(3_000, seed=9)
    y = rows[:, 0].copy()
    y[[5, 2_999]] = np.nan
    pq.write_table(pa.table({"y": y, "c": rows[:, 1]}), tmp_path / "rows.parquet")
    summary = score_table(
        ScoreOptions(
            model=str(tmp_path / "model"),
            input_patterns=(str(tmp_path / "rows.parquet"),),
            output=str(tmp_path / "scores"),
        )
    )
    assert (summary.rows_read, summary.rows_scored, summary.rows_rejected) == (3_000, 2_998, 2)
    index, log_probs = scored_log_probs(tmp_path / "scores")
    expected = live_log_probs(distribution, rows[index, :1], rows[index, 1:])
    np.testing.assert_allclose(log_probs, expected, rtol=1e-4, atol=1e-4)


def test_the_commands_from_table_to_scores(tmp_path):
    rng = np.random.default_rng(3)
    c = rng.uniform(10, 20, 3_000)
    table = {
        "y": 100 * rng.choice([-1, 1], 3_000) + c + rng.normal(size=3_000),
        "z": c**2 + rng.normal(size=3_000),
        "c": c,
    }
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")

    def run(module, *arguments):
        result = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    columns = ("--event", "y,z", "--condition", "c", "--num_layers", "1", "--max_epochs", "2")
    run("maf", "--data", tmp_path / "rows.parquet", *columns, "--run", tmp_path / "run")
    run("export", "--run", tmp_path / "run", "--model_base", tmp_path / "model", "--signatures", "log_prob")
    training = read_contract(tmp_path / "model").training
    assert training.profile == read_run(tmp_path / "run").profile
    assert {each.rows for each in (*training.profile.event, *training.profile.condition)} == {training.training_rows}
    assert training.profile.nll.rows == training.validation_rows
    assert training.profile.nll.mean == pytest.approx(training.validation_nll, abs=1e-3)
    run(
        "beam_jobs.score",
        "--model",
        tmp_path / "model",
        "--input",
        tmp_path / "rows.parquet",
        "--output",
        tmp_path / "out",
    )
    summary = json.loads((tmp_path / "out" / "_summary.json").read_text())
    assert (summary["rows_read"], summary["rows_scored"], summary["model_version"]) == (3_000, 3_000, "1")
    index, log_probs = scored_log_probs(tmp_path / "out")
    x = np.stack([table["y"], table["z"]], axis=1).astype(np.float32)[index]
    expected = live_log_probs(read_run(tmp_path / "run").distribution, x, c[index, None].astype(np.float32))
    np.testing.assert_allclose(log_probs, expected, rtol=1e-3, atol=1e-3)
