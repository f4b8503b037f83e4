"""FlowJAX, compiled by `jax.jit` for each number of rows.

Masks are applied to the weights beforehand (`paramax.unwrap`), which saves FlowJAX doing so in every call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import paramax
from flowjax.distributions import Normal
from flowjax.flows import masked_autoregressive_flow

from benchmarks.case import LAYERS, Case

PACKAGES = ("flowjax", "jax")
MODE = "`jax.jit`, masks applied beforehand"
WEIGHTS = "its own"


class Flow:
    """A `masked_autoregressive_flow` with the affine transformer that is its default."""

    def __init__(self, case: Case) -> None:
        flow = masked_autoregressive_flow(
            jax.random.key(0),
            base_dist=Normal(jnp.zeros(case.event_size)),
            cond_dim=case.condition_size,
            flow_layers=LAYERS,
            nn_width=case.hidden,
            nn_depth=2,
        )
        self._weights, structure = equinox.partition(paramax.unwrap(flow), equinox.is_array)

        def log_prob(weights: Any, x: Any, condition: Any) -> Any:
            return equinox.combine(weights, structure).log_prob(x, condition)

        def sample(weights: Any, key: Any, condition: Any) -> Any:
            key, next_key = jax.random.split(key)
            return equinox.combine(weights, structure).sample(key, condition=condition), next_key

        self._log_prob, self._sample = jax.jit(log_prob), jax.jit(sample)

    def log_prob(self, x: Any, conditional_input: Any) -> Callable[[], Any]:
        """Calls `flow.log_prob`."""
        rows, condition = jnp.asarray(x), jnp.asarray(conditional_input)
        return lambda: np.asarray(self._log_prob(self._weights, rows, condition))

    def sample(self, conditional_input: Any) -> Callable[[], Any]:
        """Calls `flow.sample`, one draw for each condition."""
        condition, key = jnp.asarray(conditional_input), jax.random.key(1)

        def draw() -> Any:
            nonlocal key
            x, key = self._sample(self._weights, key, condition)
            return np.asarray(x)

        return draw


build = Flow
