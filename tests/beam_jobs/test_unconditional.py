"""All three jobs with a model that has no condition: x0 ~ N(1, 2) and x1 ~ N(-1, 1/2), independent."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from beam_jobs import EvaluateOptions, SampleOptions, ScoreOptions, evaluate_table, sample_table, score_table
from export import Contract
from export.contract import CONTRACT_PATH, Signature, TensorSpec

MEAN, SCALE = np.array([1.0, -1.0], np.float32), np.array([2.0, 0.5], np.float32)
ROWS = 3_000


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    import tensorflow as tf  # noqa: PLC0415  # seconds

    class Gaussian(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def inverse(self, x):
            z = (x - MEAN) / SCALE
            log_prob = tf.reduce_sum(-0.5 * z**2 - np.log(SCALE) - np.float32(0.5 * np.log(2 * np.pi)), axis=1)
            return {"z": z, "log_prob": log_prob}

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def log_prob(self, x):
            return {"log_prob": self.inverse(x)["log_prob"]}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="seed")])
        def sample_with_seed(self, seed):
            uniform = (tf.cast(tf.bitcast(seed, tf.uint32), tf.float32) + 0.5) / 2.0**32
            radius, angle = tf.sqrt(-2 * tf.math.log(uniform[:, :1])), 2 * np.pi * uniform[:, 1:]
            x = radius * tf.concat([tf.cos(angle), tf.sin(angle)], axis=1) * SCALE + MEAN
            return {"x": x, "log_prob": self.log_prob(x)["log_prob"]}

    version = tmp_path_factory.mktemp("unconditional") / "1"
    module = Gaussian()
    signatures = {name: getattr(module, name) for name in ("log_prob", "inverse", "sample_with_seed")}
    tf.saved_model.save(module, str(version), signatures=signatures)
    rows, pairs, seeds = (
        TensorSpec("float32", (None,)),
        TensorSpec("float32", (None, 2)),
        TensorSpec("int64", (None,)),
    )
    contract = Contract(
        event_columns=("x0", "x1"),
        conditional_columns=(),
        dtype="float32",
        signatures={
            "log_prob": Signature(inputs={"x": pairs}, outputs={"log_prob": rows}),
            "inverse": Signature(inputs={"x": pairs}, outputs={"z": pairs, "log_prob": rows}),
            "sample_with_seed": Signature(inputs={"seed": seeds}, outputs={"x": pairs, "log_prob": rows}),
        },
        toolkit_version="0",
        tensorflow_version=tf.__version__,
    )
    (version / CONTRACT_PATH).parent.mkdir(exist_ok=True)
    (version / CONTRACT_PATH).write_text(contract.to_json())
    return str(version)


@pytest.fixture
def table(write_parquet) -> tuple[str, np.ndarray]:
    """Rows of the model in a file, and their z."""
    z = np.random.default_rng(1).normal(size=(ROWS, 2))
    x = z * SCALE + MEAN
    return write_parquet("a.parquet", {"x0": x[:, 0], "x1": x[:, 1]}), z


def density(z: np.ndarray) -> np.ndarray:
    return (-0.5 * z**2 - np.log(SCALE) - 0.5 * np.log(2 * np.pi)).sum(axis=1)


def test_scores(run_job, model, table):
    path, z = table
    directory = run_job(score_table, ScoreOptions, path, model=model, batch_size=700)
    scored = pq.ParquetDataset(sorted(directory.glob("scored-*"))).read().sort_by("row")
    np.testing.assert_allclose(scored["log_prob"], density(z), atol=1e-4)


def test_draws(run_job, model, table):
    directory = run_job(sample_table, SampleOptions, table[0], model=model, num_samples=5, seed=3, batch_size=700)
    drawn = pq.ParquetDataset(sorted(directory.glob("samples-*"))).read()
    assert drawn.num_rows == 5 * ROWS
    z = (np.column_stack([drawn["x0"], drawn["x1"]]) - MEAN) / SCALE
    assert len(np.unique(z[:, 0])) == pytest.approx(5 * ROWS, rel=0.01)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=5 / np.sqrt(5 * ROWS))
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.06)
    np.testing.assert_allclose(drawn["log_prob"], density(z), atol=1e-3)


def test_evaluation(run_job, model, table):
    path, z = table
    directory = run_job(evaluate_table, EvaluateOptions, path, model=model, batch_size=700)
    summary = json.loads((directory / "_summary.json").read_text())
    assert summary["reference"] == "standard normal"
    assert summary["overall"]["mean_nll"] == pytest.approx(-density(z).mean(), abs=1e-4)
    assert all(each["ks"] < summary["overall"]["ks_by_chance"] for each in summary["overall"]["dimensions"])
