"""`python -m benchmarks.serving_graph`: the exported functions against TFP's graph of the same distribution.

Affine layers with relu units, reversed from layer to layer; both in `tf.function` without XLA, float32. `dense` is the
matrix products of the log-density alone, unmasked, as a measure of what the machine can do.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.side_by_side import median_seconds
from maf.quiet_tensorflow import import_quietly

LAYERS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A row of the table, and the ratios to reach."""

    event_size: int
    condition_size: int
    hidden: int
    batch: int
    log_prob_target: float
    sample_target: float
    sample_per_log_prob_target: float | None = None


CASES = (
    Case(64, 16, 512, 1024, 2.5, 25, 2.5),
    Case(64, 16, 512, 64, 1.5, 15, 4),
    Case(8, 4, 64, 1024, 1.3, 3),
    Case(2, 3, 64, 4096, 1.5, 2),
)
HEADER = (
    " D   C  hidden  batch   log_prob ms  vs TFP    goal   sample ms  vs TFP    goal"
    "   sample/log_prob  goal     log_prob/dense"
)


def main() -> None:
    """Prints a line for each case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving_graph", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="for each case (default 15)")
    parser.add_argument("--case", type=int, choices=range(len(CASES)), help="only this one")
    arguments = parser.parse_args()
    import_quietly()
    print(HEADER)
    for case in CASES if arguments.case is None else [CASES[arguments.case]]:
        print(_line(case, median_seconds(_functions(case), seconds=arguments.seconds)), flush=True)


def _line(case: Case, seconds: dict[str, float]) -> str:
    log_prob, sample = seconds["log_prob"], seconds["sample"]
    goal = f"<= {case.sample_per_log_prob_target:g}" if case.sample_per_log_prob_target else ""
    return (
        f"{case.event_size:2d}  {case.condition_size:2d}  {case.hidden:3d}x{case.hidden:<3d} {case.batch:5d}"
        f"   {1e3 * log_prob:11.2f}  {seconds['tfp_log_prob'] / log_prob:6.2f}  {case.log_prob_target:6.1f}"
        f"   {1e3 * sample:9.2f}  {seconds['tfp_sample'] / sample:6.1f}  {case.sample_target:6.1f}"
        f"   {sample / log_prob:15.2f}  {goal:6}   {log_prob / seconds['dense']:8.2f}"
    )


def _functions(case: Case) -> dict[str, Callable[[], Any]]:
    """What is timed, each on inputs of its own making."""
    import tensorflow as tf  # noqa: PLC0415  # after the quiet import

    from export.base_sampler import make_base_sampler  # noqa: PLC0415
    from export.compiled.compile_density import compile_density  # noqa: PLC0415
    from export.serving_module import ServingFunctions, trace  # noqa: PLC0415
    from export.signatures import make_signatures  # noqa: PLC0415
    from maf.routing import make_bijector_kwargs  # noqa: PLC0415

    distribution = _distribution(case)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(case.batch, case.event_size)), tf.float32)
    c = tf.constant(rng.normal(size=(case.batch, case.condition_size)), tf.float32)
    served = ServingFunctions(compile_density(distribution), make_base_sampler(distribution.distribution))
    wanted = make_signatures(
        event_size=case.event_size, condition_size=case.condition_size, dtype="float32", sampling=("sample",)
    )
    signatures = trace(served, {name: wanted[name] for name in ("log_prob", "sample")})

    def kwargs(condition: tf.Tensor) -> dict[str, Any]:
        return make_bijector_kwargs(distribution.bijector, {"conditional_input": condition})

    shapes = [tf.TensorSpec([None, case.event_size]), tf.TensorSpec([None, case.condition_size])]
    tfp_log_prob = tf.function(lambda x, c: distribution.log_prob(x, bijector_kwargs=kwargs(c)), input_signature=shapes)
    tfp_sample = tf.function(
        lambda c: distribution.sample(tf.shape(c)[0], bijector_kwargs=kwargs(c)), input_signature=shapes[1:]
    )

    def log_prob() -> Any:
        return signatures["log_prob"](x=x, conditional_input=c)["log_prob"].numpy()

    def sample() -> Any:
        return signatures["sample"](conditional_input=c)["x"].numpy()

    sample.owner = served  # type: ignore[attr-defined]  # of the variables that the signatures read
    return {
        "log_prob": log_prob,
        "sample": sample,
        "tfp_log_prob": lambda: tfp_log_prob(x, c).numpy(),
        "tfp_sample": lambda: tfp_sample(c).numpy(),
        "dense": _dense(case),
    }


def _distribution(case: Case) -> Any:
    import tensorflow as tf  # noqa: PLC0415
    from tensorflow_probability import bijectors as tfb  # noqa: PLC0415
    from tensorflow_probability import distributions as tfd  # noqa: PLC0415

    from maf.layers import create_named_maf  # noqa: PLC0415

    parts = []
    for i in range(LAYERS):
        parts.append(
            create_named_maf(
                f"maf_{i}",
                [case.hidden] * 2,
                event_size=case.event_size,
                condition_size=case.condition_size,
                activation="relu",
            )
        )
        parts.append(tfb.Permute(list(range(case.event_size))[::-1], name=f"reverse_{i}"))
    base = tfd.MultivariateNormalDiag(tf.zeros([case.event_size]))
    distribution = tfd.TransformedDistribution(base, tfb.Chain(parts[:-1]))
    for variable in distribution.trainable_variables:
        variable.assign(0.5 * variable)  # draws stay moderate
    return distribution


def _dense(case: Case) -> Callable[[], Any]:
    """The matrix products of `log_prob`, of full matrices, and nothing else."""
    import tensorflow as tf  # noqa: PLC0415

    rng = np.random.default_rng(1)
    sizes = (case.event_size, case.hidden, case.hidden, 2 * case.event_size)
    kernels = [
        tf.Variable(rng.normal(size=(sizes[i] + case.condition_size, sizes[i + 1])), dtype=tf.float32) for i in range(3)
    ]
    inputs = [tf.constant(rng.normal(size=(case.batch, size + case.condition_size)), tf.float32) for size in sizes[:-1]]

    @tf.function  # type: ignore[untyped-decorator]
    def products() -> tf.Tensor:
        result = tf.zeros([])
        for _ in range(LAYERS):
            for units, kernel in zip(inputs, kernels, strict=True):
                with tf.control_dependencies([result]):  # one after the other, as in a network
                    result += tf.matmul(tf.identity(units), kernel)[0, 0]
        return result

    return lambda: products().numpy()


if __name__ == "__main__":
    main()
