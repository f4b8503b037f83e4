"""Small flows of every kind that an export has to take, each with weights of its own from a seed."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from export import ExportOptions, ExportWarning, TrainedModel, export_model, saved_model
from export.verification import verification, version
from export.verification.comparison import LiveModel
from export.verification.replay import Replies, answer_object
from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, build_flow, create_named_maf
from maf.run_directory import RunDirectory, RunSummary, variables_to_arrays, write_arrays
from maf.standardization import Standardization
from maf_serving.training_profile import TrainingProfile
from tests.export.raw_rows import COLUMNS, EVENT
from tests.export.raw_rows import make_flow as make_raw_flow
from tests.maf_serving.test_condition_range import number

if TYPE_CHECKING:
    from export.signatures import Request

tfb = tfp.bijectors
tfd = tfp.distributions

Array = np.ndarray[Any, Any]


class ReplayHere:
    """A `Replay` in this process."""

    def __init__(self, answer: Callable[[Path, Sequence[Request]], Replies]) -> None:
        self._answer = answer

    def load(self, version_dir: Path) -> None:
        """Loads when it is asked."""

    def __call__(self, version_dir: Path, requests: Sequence[Request]) -> Replies:
        return self._answer(version_dir, requests)


def replay_by(patch: pytest.MonkeyPatch, answer: Callable[[Path, Sequence[Request]], Replies]) -> None:
    """Lets verification ask `answer` instead of a fresh process, which takes seconds to start."""
    for module in (saved_model, verification, version):
        patch.setattr(module, "fresh_process", lambda: contextlib.nullcontext(ReplayHere(answer)))


def network(event_size: int, condition_size: int = 0, *, params: int = 2, **options: Any) -> tfb.AutoregressiveNetwork:
    conditional = {"conditional": True, "conditional_event_shape": [condition_size]} if condition_size else {}
    return tfb.AutoregressiveNetwork(
        params=params, event_shape=[event_size], hidden_units=[8, 8], activation="tanh", **conditional, **options
    )


def layer(name: str, *sizes: int, **options: Any) -> tfb.MaskedAutoregressiveFlow:
    return tfb.MaskedAutoregressiveFlow(network(*sizes, **options), name=name)


def normal(event_size: int, dtype: tf.DType = tf.float32) -> tfd.Distribution:
    return tfd.Sample(tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)), sample_shape=[event_size])


def nested_chain() -> tfd.Distribution:
    inner = tfb.Chain([layer("maf_1", 3, 2, input_order="right-to-left"), tfb.Permute([2, 0, 1])], name="inner")
    return tfd.TransformedDistribution(normal(3), tfb.Chain([layer("maf_0", 3, 2), inner]))


def inverted() -> tfd.Distribution:
    chain = tfb.Chain([tfb.Invert(layer("maf_0", 2, 1), name="iaf"), layer("maf_1", 2, 1)])
    return tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(2)), chain)


def unconditional() -> tfd.Distribution:
    base = tfd.Independent(tfd.Normal(tf.zeros(2), tf.ones(2)), 1)
    return tfd.TransformedDistribution(base, tfb.Chain([layer("a", 2), tfb.Permute([1, 0]), layer("b", 2)]))


def double() -> tfd.Distribution:
    maf = functools.partial(create_named_maf, hidden_units=[8, 8], event_size=3, condition_size=2, dtype="float64")
    chain = tfb.Chain([maf("maf_0"), tfb.Permute([1, 2, 0]), maf("maf_1")])
    return tfd.TransformedDistribution(normal(3, tf.float64), chain)


def spline() -> tfd.Distribution:
    """The network is known to a closure alone."""
    return tfd.TransformedDistribution(normal(2), tfb.Chain([spline_layer("maf_0"), tfb.Permute([1, 0])]))


def spline_layer(name: str) -> tfb.MaskedAutoregressiveFlow:
    parameters = network(2, 1, params=11)

    def bijector_fn(x: tf.Tensor, conditional_input: tf.Tensor) -> tfb.Bijector:
        widths, heights, slopes = tf.split(parameters(x, conditional_input=conditional_input), [4, 4, 3], axis=-1)
        return tfb.RationalQuadraticSpline(
            6 * tf.nn.softmax(widths), 6 * tf.nn.softmax(heights), 0.1 + tf.nn.softplus(slopes), range_min=-3.0
        )

    return tfb.MaskedAutoregressiveFlow(bijector_fn=bijector_fn, name=name)


def mixture() -> tfd.Distribution:
    base = tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.Variable([0.0, 1.0, -1.0])),
        tfd.MultivariateNormalDiag(tf.Variable([[-4.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), tf.Variable(tf.ones([3, 2]))),
    )
    return tfd.TransformedDistribution(base, tfb.Chain([layer("maf_0", 2, 1)]))


def batch_norm() -> tfd.Distribution:
    frozen = tfb.BatchNormalization(training=False, name="batch_norm")
    frozen.inverse(tf.zeros([1, 2]))  # builds its variables
    chain = tfb.Chain([tfb.Shift([100.0, -1.0]), tfb.Scale([10.0, 0.1]), layer("maf_0", 2, 1), frozen])
    return tfd.TransformedDistribution(normal(2), chain)


def trained_here() -> tfd.Distribution:
    """Of `maf`'s own making: raw units far from 0, one event column, a spline.

    No projections: of the random weights of this seed the flow is then one that float32 computes to 2e-5. By seed, with
    projections or without, float32 is off by 4e-6 to 6e-5, TFP's own as much as the exported one.
    """
    sizes = {"num_layers": 1, "condition_units": (16,), "condition_projections": 0, "num_bins": 4}
    config = FlowConfig(event_size=1, condition_size=2, **sizes)
    moments = Standardization(np.array([1000.0]), np.array([5.0]), np.array([50.0, -3.0]), np.array([10.0, 0.1]))
    return build_flow(config, standardization=moments, seed=1)


FLOWS: dict[str, Callable[[], tfd.Distribution]] = {
    "nested_chain": nested_chain,
    "inverted": inverted,
    "unconditional": unconditional,
    "double": double,
    "spline": spline,
    "mixture": mixture,
    "batch_norm": batch_norm,
    "trained_here": trained_here,
}
CONDITION_SIZES = {"nested_chain": 2, "unconditional": 0, "double": 2, "trained_here": 2}
TYPICAL = {"trained_here": (50.0, -3.0)}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A flow and a version of it, checked by verify in this process."""

    distribution: tfd.Distribution
    version_dir: Path
    condition_size: int
    loaded: Any

    @property
    def event_size(self) -> int:
        return int(self.distribution.event_shape[0])

    def signature(self, name: str) -> Callable[..., dict[str, Array]]:
        function = self.loaded.signatures[name]
        return lambda **inputs: {k: v.numpy() for k, v in function(**as_tensors(inputs)).items()}

    def condition(self, rows: int, seed: int) -> dict[str, Array]:
        """`conditional_input`, if the flow takes one."""
        if not self.condition_size:
            return {}
        values = np.random.default_rng(seed).normal(size=(rows, self.condition_size))
        centre = np.array(TYPICAL.get(self.distribution.name, (0.0,) * self.condition_size))
        return {"conditional_input": (values + centre).astype(self.distribution.dtype.as_numpy_dtype)}


def as_tensors(inputs: Mapping[str, Array]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in inputs.items()}


def columns(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(count)]


def randomise(distribution: tfd.Distribution, condition_size: int, seed: int) -> tfd.Distribution:
    """Weights that differ from layer to layer; what the masks hold at zero stays zero."""
    x = tf.zeros([1, distribution.event_shape[0]], distribution.dtype)
    kwargs = LiveModel(distribution)._kwargs(
        {"conditional_input": tf.zeros([1, condition_size], distribution.dtype)} if condition_size else {}
    )
    with tf.GradientTape() as tape:
        tape.watch(x)
        distribution.log_prob(x, bijector_kwargs=kwargs)
    rng = np.random.default_rng(seed)
    for variable in tape.watched_variables():
        if "kernel" in variable.name or "bias" in variable.name:
            free = (variable.numpy() != 0) | ("bias" in variable.name)
            inputs = max(16, variable.shape[0])
            variable.assign(free * rng.normal(0.0, 1.6 / inputs**0.5, variable.shape))
    return distribution


@pytest.fixture(scope="session")
def make_flow() -> Callable[..., tfd.Distribution]:
    def make(name: str, *, seed: int = 0) -> tfd.Distribution:
        return randomise(FLOWS[name](), CONDITION_SIZES.get(name, 1), seed)

    return make


def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory of this run of the tests for all processes that run them."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextlib.contextmanager
def once_for_all_workers(made: Path) -> Iterator[None]:
    """While it is open, no other process of this run of the tests makes the same."""
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def export_here(make_flow: Callable[..., tfd.Distribution], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Exports a named flow, each once for all workers; one loader, in this process, verifies it: that saves seconds."""
    done: dict[str, Exported] = {}

    def export_flow(name: str, signatures: tuple[str, ...] | None = None, device: str = "cpu") -> Exported:
        key = "-".join([name, *(signatures or ()), device])
        if key not in done:
            condition_size = CONDITION_SIZES.get(name, 1)
            distribution = make_flow(name)
            base = shared_directory(tmp_path_factory) / f"exported-{key}"
            version_dir = base / "1"
            with once_for_all_workers(base), pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
                if name == "spline":  # known to a closure alone: it runs as TFP's graph
                    warnings.simplefilter("ignore", ExportWarning)
                patch.setattr(verification, "LOADERS", ("object",))
                replay_by(patch, lambda path, requests: Replies(answer_object(str(path), requests)))
                if not version_dir.exists():
                    saved_model.export_saved_model(
                        distribution,
                        base,
                        event_columns=columns("x", distribution.event_shape[0]),
                        conditional_columns=columns("c", condition_size),
                        signatures=signatures,
                        device=device,
                        warmup_signatures=None,
                    )
            loaded = tf.saved_model.load(str(version_dir))
            done[key] = Exported(distribution, version_dir, condition_size, loaded)
        return done[key]

    return export_flow


@pytest.fixture(params=sorted(FLOWS))
def exported(request: pytest.FixtureRequest, export_here: Callable[[str], Exported]) -> Exported:
    """Every flow in turn."""
    return export_here(request.param)


@pytest.fixture(scope="session")
def raw_flow() -> tfd.Distribution:
    """A flow with categories and nulls among its conditions: the exported one, in every process that runs tests."""
    tf_keras.utils.set_random_seed(0)
    return make_raw_flow()


@pytest.fixture(scope="session")
def raw_version(raw_flow: tfd.Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It as a version, verified in a fresh process as any export is."""
    base = shared_directory(tmp_path_factory) / "exported-raw"
    with once_for_all_workers(base):
        if (base / "1").exists():
            return base / "1"
        exported = export_model(
            TrainedModel(distribution=raw_flow, event_columns=EVENT, condition_columns=COLUMNS),
            base,
            ExportOptions(warmup_batch_sizes=(1, 3), warmup_signatures=None),
        )
    assert {c.signature for c in exported.report.comparisons} >= {"log_prob_examples", "log_prob", "sample_columns"}
    return Path(exported.version_dir)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run, trained for no epoch at all."""
    config = RunConfig(
        data=DataConfig(data=("train.csv",), event=("y",), condition=("c0", "c1")),
        flow=FlowConfig(event_size=1, condition_size=2, num_layers=1, condition_units=(4,), transform="affine"),
        training=TrainingConfig(),
    )
    directory = RunDirectory(tmp_path / "run")
    directory.create(config)
    write_arrays(directory.weights, variables_to_arrays(build_flow(config.flow, seed=0).variables, "model"))
    profile = TrainingProfile(
        event=(number("y", -3.0, 3.0),), condition=(number("c0", -1.0, 1.0), number("c1", 5.0, 5.0))
    )
    directory.finish(RunSummary(80, 10, 10, 0, 3, 1.5, 1.25, 0.1), profile)
    return directory.path
