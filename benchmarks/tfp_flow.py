"""The flow of a case as a TFP distribution: affine layers with relu units, reversed from layer to layer, float32."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from benchmarks.case import LAYERS, Case
from maf.layers import create_named_maf
from maf.routing import make_bijector_kwargs


def build_flow(case: Case) -> tfd.TransformedDistribution:
    """The distribution of `case`; the same weights at each call, in any process."""
    tf_keras.utils.set_random_seed(0)
    parts: list[Any] = []
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
        variable.assign(0.3 * variable)  # or draws overflow: nothing bounds the log-scales
    return distribution


def tfp_functions(distribution: tfd.TransformedDistribution, case: Case, **options: Any) -> tuple[Any, Any]:
    """TFP's own `log_prob` and `sample` in a `tf.function` with these options, for any number of rows."""

    def kwargs(condition: tf.Tensor) -> dict[str, Any]:
        return make_bijector_kwargs(distribution.bijector, {"conditional_input": condition})

    shapes = [tf.TensorSpec([None, case.event_size]), tf.TensorSpec([None, case.condition_size])]
    log_prob = tf.function(
        lambda x, c: distribution.log_prob(x, bijector_kwargs=kwargs(c)), input_signature=shapes, **options
    )
    sample = tf.function(
        lambda c: distribution.sample(tf.shape(c)[0], bijector_kwargs=kwargs(c)), input_signature=shapes[1:], **options
    )
    return log_prob, sample
