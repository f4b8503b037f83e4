"""Tables that break a careless fit: each is trained for a few steps from the file on, and scored in float32."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, mean_nll, read_run, start_run

N = 3_000
RNG = np.random.default_rng(0)
C = RNG.normal(size=N)
Z = RNG.normal(size=N)
TABLES = {
    "heavy event": (RNG.standard_cauchy(N) + C, C),
    "heavy condition": (0.5 * Z + C, np.sinh(5 * C)),
    "tiny": (1e-12 * (Z + C), 1e-12 * C),
    "huge": (1e12 * (Z + C), 1e12 * C),
    "far from zero": (1e6 + Z + C, -1e6 + C),
    "all but a function of the condition": (C + 1e-6 * Z, C),
    "integers": (np.round(2 * (Z + C)), np.round(C)),
    "constant condition": (Z, np.full(N, 0.1)),
}


def run(path, y, c, *, announce=lambda _: None, max_epochs=4, **data):
    pq.write_table(pa.table({"y": y, "c": c}), path / "table.parquet")
    config = RunConfig(
        data=DataConfig(data=(str(path / "table.parquet"),), event=("y",), condition=("c",), **data),
        flow=FlowConfig(event_size=1, condition_size=1, condition_units=(32,)),
        training=TrainingConfig(max_epochs=max_epochs, batch_size=128, jit_compile="off", learning_rate=0.01),
    )
    return start_run(config, path / "run", announce=announce)


def gaussian_nll(y):
    return 0.5 * math.log(2 * math.pi * math.e * y.var())


@pytest.mark.parametrize(("y", "c"), TABLES.values(), ids=TABLES)
def test_trains_to_finite_numbers_no_worse_than_a_gaussian(y, c, tmp_path):
    trained = run(tmp_path, y, c)
    summary = trained.training_summary
    assert math.isfinite(summary.validation_nll)
    assert summary.test_nll < gaussian_nll(y) + 0.1
    rows = np.stack([y, c], axis=1).astype(np.float32)
    assert math.isfinite(mean_nll(read_run(tmp_path / "run").distribution, rows, event_size=1)[0])


def test_a_cauchy_column_is_fitted_within_a_tenth_of_a_nat(tmp_path):
    y, c = 3 + 100 * RNG.standard_cauchy((2, 6_000))
    trained = run(tmp_path, y, c, max_epochs=6)
    new = (3 + 100 * RNG.standard_cauchy((20_000, 2))).astype(np.float32)
    entropy = math.log(4 * math.pi * 100)
    assert mean_nll(trained.distribution, new, event_size=1)[0] == pytest.approx(entropy, abs=0.1)


def test_repeated_values_are_said_and_noise_makes_their_density_one(tmp_path):
    said = []
    y, c = RNG.integers(0, 4, 6_000).astype(float), RNG.normal(size=6_000)
    (tmp_path / "plain").mkdir()
    (tmp_path / "noisy").mkdir()
    plain = run(tmp_path / "plain", y, c, announce=said.append)
    assert [line for line in said if "--dequantize y=1" in line]
    said.clear()
    noisy = run(tmp_path / "noisy", y, c, announce=said.append, dequantize=("y=1",))
    assert not [line for line in said if "dequantize" in line]
    # the values are uniform on 0..3, with the noise uniform on [-0.5, 3.5)
    assert noisy.training_summary.test_nll == pytest.approx(math.log(4), abs=0.1)
    assert plain.training_summary.test_nll < math.log(4) - 0.3
