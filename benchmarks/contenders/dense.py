"""The matrix products of a log-density alone, of full matrices: a measure of what the machine can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.case import LAYERS, Case

PACKAGES = ("tensorflow",)
MODE = "`tf.matmul` of unmasked matrices, no biases, activations or transforms"
WEIGHTS = "none"


class Flow:
    """Kernels of the shapes of a flow's; no flow."""

    def __init__(self, case: Case) -> None:
        rng = np.random.default_rng(1)
        sizes = (case.event_size, case.hidden, case.hidden, 2 * case.event_size)
        self._inputs = [size + case.condition_size for size in sizes[:-1]]
        self._kernels = [
            tf.Variable(rng.normal(size=shape), dtype=tf.float32) for shape in zip(self._inputs, sizes[1:], strict=True)
        ]

    def log_prob(self, x: Any, conditional_input: Any) -> Callable[[], Any]:  # noqa: ARG002  # a contender's
        """The products for as many rows; what is in them does not matter."""
        rng = np.random.default_rng(2)
        inputs = [tf.constant(rng.normal(size=(len(x), size)), tf.float32) for size in self._inputs]

        @tf.function  # type: ignore[untyped-decorator]
        def products() -> tf.Tensor:
            result = tf.zeros([])
            for _ in range(LAYERS):
                for units, kernel in zip(inputs, self._kernels, strict=True):
                    with tf.control_dependencies([result]):  # one after the other, as in a network
                        result += tf.matmul(tf.identity(units), kernel)[0, 0]
            return result

        return lambda: products().numpy()


build = Flow
