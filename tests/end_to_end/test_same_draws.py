"""One seed, one file: the same draws from a batch job, from the client's command and from arrays in Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import SampleOptions, sample_table
from maf_serving.row_seeds import draw_seeds, row_keys
from serving_config import Client
from serving_config.client.options import parse_call
from serving_config.client.table_call import call_table
from tests.beam_jobs.conftest import save_model
from tests.serving_config.flow_server import FlowServer

ROWS, DRAWS, SEED = 50, 3, 7
CONDITIONS = np.linspace(-2, 2, ROWS)


class ModelServer(FlowServer):
    """Answers with the signatures of an exported version."""

    def __init__(self, version_dir) -> None:
        import tensorflow as tf  # noqa: PLC0415  # seconds

        self.seeds = []
        self._model = tf.saved_model.load(str(version_dir))
        super().__init__()

    def _outputs(self, signature, inputs):
        if "seed" in inputs:
            self.seeds.append(inputs["seed"])
        return {name: value.numpy() for name, value in self._model.signatures[signature](**inputs).items()}


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "gaussian", base_kind="normal") / "3"


@pytest.fixture(scope="module")
def server(version):
    server = ModelServer(version)
    yield server
    server.close()


@pytest.fixture
def conditions(tmp_path):
    path = tmp_path / "conditions.parquet"
    pq.write_table(pa.table({"c0": CONDITIONS}), path, row_group_size=8)
    return path


def by_row_and_draw(table: pa.Table) -> dict[tuple[int, int], tuple[float, float]]:
    return {(row["row"], row["draw"]): (row["x0"], row["x1"]) for row in table.to_pylist()}


def test_a_seed_gives_the_same_draws_everywhere(version, server, conditions, tmp_path):
    options = SampleOptions(
        model=str(version.parent), input_patterns=(str(conditions),), output=str(tmp_path / "out"),
        num_samples=DRAWS, seed=SEED, batch_size=11,
    )  # fmt: skip
    sample_table(options)
    in_beam = by_row_and_draw(pq.ParquetDataset(sorted((tmp_path / "out").glob("samples-*"))).read())

    flags = ["sample", "--rest_url", server.rest_url, "--model_name", "flow", "--model", version, "--seed", SEED]
    flags += ["--input", conditions, "--output", tmp_path / "o.parquet", "--num_samples", DRAWS]
    call_table(parse_call([*map(str, flags), "--rows_per_request", "7"]))
    by_command = by_row_and_draw(pq.read_table(tmp_path / "o.parquet"))

    with Client("flow", grpc_target=server.grpc_target) as client:
        x = client.sample(CONDITIONS[:, None], num_samples=DRAWS, seed=SEED)
    of_arrays = {(row, draw): tuple(x[draw, row]) for row in range(ROWS) for draw in range(DRAWS)}

    assert set(in_beam) == set(by_command) == set(of_arrays)
    for key, expected in in_beam.items():
        assert by_command[key] == pytest.approx(expected, rel=1e-5, abs=1e-5)
        assert of_arrays[key] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    keys = np.repeat(row_keys(SEED, np.arange(ROWS)), DRAWS)
    asked = np.concatenate(server.seeds)
    assert set(asked) == set(draw_seeds(keys, np.tile(np.arange(DRAWS), ROWS)))
