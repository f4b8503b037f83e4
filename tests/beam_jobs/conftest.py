"""A small exported model whose density is known in closed form, and tables to score with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from beam_jobs import ScoreOptions
from export import Contract
from export.contract import CONTRACT_PATH, Answers, Signature, TensorSpec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

Numbers = npt.NDArray[np.float64]

# Values of x0 for which the model misbehaves, as a real one might.
NAN_AT, MINUS_INFINITY_AT, PLUS_INFINITY_AT = 777.0, 888.0, 999.0


def log_prob(x0: Numbers, x1: Numbers, c0: Numbers, stretch: float = 1.0) -> Numbers:
    """x0 ~ N(c0, 1), x1 ~ N(-2 c0, 3), independent given c0, or so many times as wide; nats."""
    z0, z1 = (x0 - c0) / stretch, (x1 + 2 * c0) / (3 * stretch)
    return -0.5 * (z0**2 + z1**2) - np.log(3) - 2 * np.log(stretch) - np.log(2 * np.pi)


@pytest.fixture(scope="session")
def density() -> Callable[..., Numbers]:
    return log_prob


@pytest.fixture(scope="session")
def model_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model base with one version, 3; event columns x0, x1, condition c0, float32."""
    return save_model(tmp_path_factory.mktemp("models") / "gaussian", base_kind="normal")


@pytest.fixture(scope="session")
def uniform_model_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but its draws have a base that is uniform from -0.5 to 0.5."""
    return save_model(tmp_path_factory.mktemp("models") / "uniform", base_kind="uniform")


def save_model(
    base: Path, *, base_kind: str, stretch: float = 1.0, condition: str = "c0", event: tuple[str, str] = ("x0", "x1")
) -> Path:
    import tensorflow as tf  # noqa: PLC0415  # seconds, for the tests that need the model

    class Gaussian(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = tf.Variable([stretch, 3.0 * stretch])

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 2], tf.float32, name="x"),
                tf.TensorSpec([None, 1], tf.float32, name="conditional_input"),
            ]
        )
        def log_prob(self, x, conditional_input):
            z = (x - conditional_input * [1.0, -2.0]) / self.scale
            value = tf.reduce_sum(-0.5 * z**2 - tf.math.log(self.scale) - 0.5 * np.log(2 * np.pi), axis=1)
            for at, answer in ((NAN_AT, np.nan), (MINUS_INFINITY_AT, -np.inf), (PLUS_INFINITY_AT, np.inf)):
                value = tf.where(x[:, 0] == at, answer, value)
            return {"log_prob": value}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 2], tf.float32, name="x"),
                tf.TensorSpec([None, 1], tf.float32, name="conditional_input"),
            ]
        )
        def inverse(self, x, conditional_input):
            z = (x - conditional_input * [1.0, -2.0]) / self.scale
            return {"z": z, "log_prob": self.log_prob(x, conditional_input)["log_prob"]}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 1], tf.float32, name="conditional_input"),
                tf.TensorSpec([None], tf.int64, name="seed"),
            ]
        )
        def sample_with_seed(self, conditional_input, seed):
            words = tf.cast(tf.bitcast(seed, tf.uint32), tf.float32)
            x = self.draw((words + 0.5) / 2.0**32) * self.scale + conditional_input * [1.0, -2.0]
            return {"x": x, "log_prob": self.log_prob(x, conditional_input)["log_prob"]}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 1], tf.float32, name="conditional_input"),
                tf.TensorSpec([None], tf.int64, name="seed"),
            ]
        )
        def summarize(self, conditional_input, seed):
            """As of one draw; the row's seed is seen in the mean, and NAN_AT of the condition fails."""
            mean = self.sample_with_seed(conditional_input, seed)["x"]
            mean = tf.where(conditional_input == NAN_AT, np.nan, mean)
            stddev = tf.ones_like(mean) * self.scale
            return {"mean": mean, "stddev": stddev, "quantiles": tf.stack([mean - stddev, mean + stddev], axis=2)}

        def draw(self, uniform):
            """Two standard normal values from two uniform ones: Box and Muller."""
            if base_kind == "uniform":
                return uniform - 0.5
            radius, angle = tf.sqrt(-2 * tf.math.log(uniform[:, :1])), 2 * np.pi * uniform[:, 1:]
            return radius * tf.concat([tf.cos(angle), tf.sin(angle)], axis=1)

    version = base / "3"
    module = Gaussian()
    functions = {name: getattr(module, name) for name in ("log_prob", "inverse", "sample_with_seed", "summarize")}
    tf.saved_model.save(module, str(version), signatures=functions)
    specs = {
        "x": TensorSpec("float32", (None, 2)),
        "z": TensorSpec("float32", (None, 2)),
        "conditional_input": TensorSpec("float32", (None, 1)),
        "seed": TensorSpec("int64", (None,)),
        "log_prob": TensorSpec("float32", (None,)),
        "mean": TensorSpec("float32", (None, 2)),
        "stddev": TensorSpec("float32", (None, 2)),
        "quantiles": TensorSpec("float32", (None, 2, 2)),
    }

    def signature(inputs: str, outputs: str) -> Signature:
        return Signature(
            inputs={name: specs[name] for name in inputs.split()},
            outputs={name: specs[name] for name in outputs.split()},
        )

    contract = Contract(
        event_columns=event,
        conditional_columns=(condition,),
        dtype="float32",
        signatures={
            "log_prob": signature("x conditional_input", "log_prob"),
            "inverse": signature("x conditional_input", "z log_prob"),
            "sample_with_seed": signature("conditional_input seed", "x log_prob"),
            "summarize": signature("conditional_input seed", "mean stddev quantiles"),
        },
        answers=Answers(quantile_levels=(0.16, 0.84), num_draws=1024),
        toolkit_version="0",
        tensorflow_version=tf.__version__,
    )
    (version / CONTRACT_PATH).parent.mkdir(exist_ok=True)
    (version / CONTRACT_PATH).write_text(contract.to_json())
    return base


@pytest.fixture(scope="session")
def make_columns() -> Callable[[int, int], dict[str, Numbers]]:
    """Columns x0, x1, c0 of `rows` rows, from a seed."""

    def make(rows: int, seed: int) -> dict[str, Numbers]:
        generator = np.random.default_rng(seed)
        return {name: generator.normal(size=rows) for name in ("x0", "x1", "c0")}

    return make


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, columns: dict, row_group_size: int | None = None) -> str:
        path = tmp_path / name
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return str(path)

    return write


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, columns: dict) -> str:
        path = tmp_path / name
        pacsv.write_csv(pa.table(columns), path)
        return str(path)

    return write


@pytest.fixture
def write_text(tmp_path: Path) -> Callable[[str, str | bytes], str]:
    def write(name: str, text: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


class Scored:
    """A finished output directory, read back."""

    def __init__(self, directory: Path, summary) -> None:
        self.directory = directory
        self.summary = summary
        self.scored = pq.ParquetDataset(sorted(directory.glob("scored-*.parquet"))).read()
        self.rejected = pq.ParquetDataset(sorted(directory.glob("_rejected-*.parquet"))).read()

    def log_probs(self) -> dict[tuple[str, int], float]:
        table = self.scored.select(["file", "row", "log_prob"]).to_pydict()
        return dict(zip(zip(table["file"], table["row"], strict=True), table["log_prob"], strict=True))

    def reasons(self) -> dict[tuple[str, int], str]:
        table = self.rejected.to_pydict()
        return dict(zip(zip(table["file"], table["row"], strict=True), table["reason"], strict=True))

    def assert_each_row_once(self, expected: set[tuple[str, int]]) -> None:
        keys = [*zip(*self.scored.select(["file", "row"]).to_pydict().values(), strict=True)]
        keys += [*zip(*self.rejected.select(["file", "row"]).to_pydict().values(), strict=True)]
        assert len(keys) == len(expected)
        assert set(keys) == expected
        assert self.summary.rows_read == len(expected)
        assert self.summary.rows_scored == self.scored.num_rows
        assert self.summary.rows_rejected == self.rejected.num_rows
        assert sum(self.summary.rejected_by_kind.values()) == self.rejected.num_rows


@pytest.fixture
def score(model_base: Path, tmp_path: Path) -> Callable[..., Scored]:
    """Scores files with the model, on threads of this process, and reads the output back."""
    from beam_jobs import score_table  # noqa: PLC0415

    def run(*inputs: str, output: str = "scores", **options) -> Scored:
        summary = score_table(
            ScoreOptions(
                model=str(model_base),
                input_patterns=inputs,
                output=str(tmp_path / output),
                **{"max_rejected": 1.0, **options},  # rejected rows are what many a test looks at
            )
        )
        return Scored(tmp_path / output, summary)

    return run


@pytest.fixture
def run_job(tmp_path: Path) -> Callable[..., Path]:
    """Runs a job in this process and returns its output directory: `run_job(sample_table, SampleOptions, ...)`."""

    def run(job: Callable, options: type, *inputs: str, output: str = "out", **values) -> Path:
        job(options(input_patterns=inputs, output=str(tmp_path / output), **{"max_rejected": 1.0, **values}))
        return tmp_path / output

    return run


@pytest.fixture
def scripted() -> Iterator[Callable]:
    """Starts servers that fail with the codes given, and then answer: `service, target = scripted(*codes)`."""
    import grpc  # noqa: PLC0415

    from tests.beam_jobs.scripted_server import Scripted  # noqa: PLC0415  # loads grpc and numpy

    with contextlib.ExitStack() as stack:

        def start(*codes: grpc.StatusCode, **limits: int) -> tuple[Scripted, str]:
            service = Scripted(*codes, **limits)
            rpc_server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[service])
            port = rpc_server.add_insecure_port("127.0.0.1:0")
            rpc_server.start()
            stack.callback(lambda: rpc_server.stop(0).wait())
            return service, f"127.0.0.1:{port}"

        yield start


@pytest.fixture
def scored_elsewhere(scripted) -> list[str]:
    """Flags of a job whose workers need no TensorFlow: it starts in a second or two."""
    _, target = scripted()
    return [f"--endpoint={target}", "--endpoint_model_name=any"]
