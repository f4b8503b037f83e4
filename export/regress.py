"""The function behind TF Serving's Regress call: log-densities of rows that come as `tf.Example`s."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from export.row_guard import guard_rows

if TYPE_CHECKING:
    from export.contract import TensorSpec

Tensors = Mapping[str, tf.Tensor]


def make_regress(
    log_prob: Callable[[Tensors], Tensors], features: Mapping[str, TensorSpec]
) -> Callable[[Tensors], Tensors]:
    """The function from `inputs` `[B]`, serialized `tf.Example`s, to `outputs` `[B]` float32, log-densities in nats.

    An Example that cannot be parsed, or lacks a feature, or has one of another length, fails the request: the parsing
    op raises InvalidArgumentError, which names the feature. NaN or infinity yields NaN for its own row.

    Args:
      log_prob: from the features, in the model's dtype, to `log_prob` `[B]`.
      features: the inputs of `log_prob`, `[B, K]` each. An Example holds them as float32, K values each.
    """
    parsing = {name: tf.io.FixedLenFeature(spec.shape[1:], tf.float32) for name, spec in features.items()}

    def regress(inputs: Tensors) -> Tensors:
        parsed = tf.io.parse_example(inputs["inputs"], parsing)
        rows = guard_rows({name: tf.cast(parsed[name], spec.dtype) for name, spec in features.items()}, features)
        outputs = rows.mask(log_prob(rows.tensors))
        return {"outputs": tf.cast(outputs["log_prob"], tf.float32)}

    return regress
