"""TensorFlow Probability in a `tf.function`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from benchmarks.tfp_flow import build_flow, tfp_functions

if TYPE_CHECKING:
    from benchmarks.case import Case

PACKAGES = ("tensorflow", "tensorflow-probability")
MODE = "`tf.function`"
WEIGHTS = "TFP's"


class Flow:
    """TFP's graph of the distribution."""

    def __init__(self, case: Case) -> None:
        self._distribution = build_flow(case)
        self._log_prob, self._sample = tfp_functions(self._distribution, case, autograph=False)

    def log_prob(self, x: Any, conditional_input: Any) -> Callable[[], Any]:
        """Calls `distribution.log_prob`."""
        rows, condition = tf.constant(x), tf.constant(conditional_input)
        return lambda: self._log_prob(rows, condition).numpy()

    def sample(self, conditional_input: Any) -> Callable[[], Any]:
        """Calls `distribution.sample`."""
        condition = tf.constant(conditional_input)
        return lambda: self._sample(condition).numpy()


build = Flow
