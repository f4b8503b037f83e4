"""Probabilities of a flow's base distribution: how much of it lies below a point, and which point has so much below.

The columns of a base distribution are taken one after the other: the share of column d that lies below `z_d` given the
columns before it. Of independent columns that is each column's own distribution function; of a mixture, the columns
before say which components are likely (Rosenblatt, "Remarks on a multivariate transformation", 1952).

Where a point is wanted for a level that is known at export, it is found on a normal scale: `at_normal(t)` has as much
of the base below it as the standard normal has below t. That keeps both tails, which 1 - 1e-10 in float32 would not.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from export.errors import ModelError
from maf.routing import is_kind

Array = np.ndarray[Any, Any]
_NORMAL_TAIL = 8.0  # beyond it lies less than 1e-15
_ROUNDED_TAIL = 5.0  # of a distribution that takes float32 probabilities: 1 - 3e-7 is one, 1 - 6e-8 hardly
_BISECTIONS = {tf.float32: 32, tf.float64: 60}


class BaseProbabilities(Protocol):
    """What is known of a base distribution over z `[B, D]`.

    Attributes:
      tail: the t up to which `at_normal` can say more than one.
    """

    tail: float

    @property
    def uniforms(self) -> int:
        """Uniform numbers that a draw needs."""
        ...

    def cdf(self, z: tf.Tensor) -> tf.Tensor:
        """`[B, D]`, the share of each column that lies below `z` `[B, D]`, given the columns before it."""
        ...

    def survival(self, z: tf.Tensor) -> tf.Tensor:
        """`1 - cdf`, of one column, exact where that is tiny."""
        ...

    def quantile(self, probability: tf.Tensor) -> tf.Tensor:
        """`z` `[B]`, of one column, for `probability` `[B]` in (0, 1)."""
        ...

    def upper_quantile(self, probability: tf.Tensor) -> tf.Tensor:
        """The z `[B]` of one column with that `probability` above it."""
        ...

    def at_normal(self, t: Array) -> Array:
        """`[...]` float64, of one column: z with as much below it as the standard normal has below `t` `[...]`."""
        ...

    def draw(self, uniforms: tf.Tensor) -> tf.Tensor:
        """Draws `[..., D]` made of independent `uniforms` `[..., uniforms]` in (0, 1)."""
        ...


def base_probabilities(base: Any) -> BaseProbabilities:
    """Probabilities of a base distribution of event shape `[D]`.

    Args:
      base: a `tfd.MultivariateNormal*`; `tfd.Independent` or `tfd.Sample` of any distribution of numbers that has `cdf`
        and `quantile`; a `tfd.MixtureSameFamily` of normals with diagonal covariance.

    Raises:
      ModelError: for another one, naming it and what it lacks.
    """
    if is_kind(base, "MixtureSameFamily") and _is_diagonal_normal(base.components_distribution):
        return MixtureProbabilities(base)
    if is_kind(base, "MultivariateNormalLinearOperator"):
        return NormalProbabilities(base)
    if (is_kind(base, "Independent") or is_kind(base, "Sample")) and base.distribution.event_shape.rank == 0:
        column = base.distribution
        try:
            points = column.quantile(tf.constant(0.5, base.dtype))
            column.cdf(points)
        except (NotImplementedError, ValueError, TypeError) as error:
            raise ModelError(
                f"base distribution {base.name!r} is of columns of kind {type(column).__name__}, which lack a cdf or a "
                "quantile; expected a distribution that has both, such as tfd.Normal"
            ) from error
        return ColumnProbabilities(base)
    raise ModelError(
        f"base distribution {base.name!r} is a {type(base).__name__}, whose columns have no probabilities of "
        "their own; expected a MultivariateNormal*, Independent, Sample or MixtureSameFamily of diagonal normals"
    )


def _is_diagonal_normal(distribution: Any) -> bool:
    if is_kind(distribution, "Independent") or is_kind(distribution, "Sample"):
        return is_kind(distribution.distribution, "Normal")
    return is_kind(distribution, "MultivariateNormalDiag")


class NormalProbabilities:
    """`z = loc + scale eps` with eps independent standard normals, which are the columns that are asked about."""

    tail = _NORMAL_TAIL

    def __init__(self, base: Any) -> None:
        self._base = base
        self.uniforms = int(base.event_shape[0])

    def cdf(self, z: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return _below(self._eps(z))

    def survival(self, z: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return _below(-self._eps(z))

    def quantile(self, probability: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return self.draw(probability[:, tf.newaxis])[:, 0]

    def upper_quantile(self, probability: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return self._z(-tf.math.ndtri(probability[:, tf.newaxis]))[:, 0]

    def at_normal(self, t: Array) -> Array:
        """See `BaseProbabilities`."""
        return np.asarray(float(self._loc()[0]) + float(self._scale()[0]) * np.asarray(t, np.float64))

    def draw(self, uniforms: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return self._z(tf.math.ndtri(uniforms))

    def _eps(self, z: tf.Tensor) -> tf.Tensor:
        if self.uniforms == 1:
            return (z - self._loc()) / self._scale()
        return self._base.scale.solvevec(z - self._loc())

    def _z(self, eps: tf.Tensor) -> tf.Tensor:
        return self._loc() + (self._scale() * eps if self.uniforms == 1 else self._base.scale.matvec(eps))

    def _loc(self) -> Any:
        return self._base.mean()

    def _scale(self) -> Any:
        """Of one column: a factor below zero would turn it round."""
        return self._base.stddev()


class ColumnProbabilities:
    """Independent columns of any distribution that has `cdf` and `quantile`."""

    def __init__(self, base: Any) -> None:
        self._column = base.distribution
        self._dtype = base.dtype
        self.uniforms = int(base.event_shape[0])
        self._is_normal = is_kind(self._column, "Normal")
        self.tail = _NORMAL_TAIL if self._is_normal else _ROUNDED_TAIL

    def cdf(self, z: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return self._column.cdf(z)

    def survival(self, z: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return self._column.survival_function(z)

    def quantile(self, probability: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return self.draw(probability[:, tf.newaxis])[:, 0]

    def upper_quantile(self, probability: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        if self._is_normal:  # symmetrical
            return 2 * self._column.loc - self.quantile(probability)
        return self.quantile(1 - probability)

    def at_normal(self, t: Array) -> Array:
        """See `BaseProbabilities`."""
        t = np.asarray(t, np.float64)
        if self._is_normal:
            return float(tf.reshape(self._column.loc, [-1])[0]) + float(tf.reshape(self._column.scale, [-1])[0]) * t
        probability = tf.constant(_normal_cdf(t).reshape(-1, 1), self._dtype)
        return np.asarray(self.draw(probability), np.float64).reshape(t.shape)

    def draw(self, uniforms: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return self._column.quantile(uniforms)


class MixtureProbabilities:
    """A mixture of normals with diagonal covariance."""

    tail = _NORMAL_TAIL

    def __init__(self, base: Any) -> None:
        self._base = base
        self._components = base.components_distribution
        self._size = int(base.event_shape[0])
        self.uniforms = self._size + 1

    def cdf(self, z: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        eps = self._eps(z)
        return tf.reduce_sum(self._shares(eps) * _below(eps), axis=1)

    def survival(self, z: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        eps = self._eps(z)
        return tf.reduce_sum(self._shares(eps) * _below(-eps), axis=1)

    def quantile(self, probability: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`; found by halving the interval between the least and greatest of the components'."""
        return self._solve(tf.math.ndtri(probability), lambda z: self.cdf(z)[:, 0] < probability)

    def upper_quantile(self, probability: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`."""
        return self._solve(-tf.math.ndtri(probability), lambda z: self.survival(z)[:, 0] > probability)

    def at_normal(self, t: Array) -> Array:
        """See `BaseProbabilities`."""
        t = np.asarray(t, np.float64)
        weights = np.asarray(self._base.mixture_distribution.probs_parameter(), np.float64)
        loc, scale = (
            np.asarray(value, np.float64)[:, 0] for value in (self._components.mean(), self._components.stddev())
        )
        flat = t.ravel()
        own = loc + scale * flat[:, np.newaxis]
        low, high = own.min(axis=1), own.max(axis=1)
        side = np.where(flat > 0, -1.0, 1.0)  # of the smaller tail, which is exact
        wanted = _normal_cdf(side * flat)
        for _ in range(_BISECTIONS[tf.float64]):
            middle = (low + high) / 2
            tail = _normal_cdf(side[:, np.newaxis] * (middle[:, np.newaxis] - loc) / scale) @ weights
            below = np.where(side > 0, tail < wanted, tail > wanted)
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray((low + high) / 2).reshape(t.shape)

    def draw(self, uniforms: tf.Tensor) -> tf.Tensor:
        """See `BaseProbabilities`; the last uniform picks the component."""
        eps = tf.math.ndtri(uniforms[..., : self._size])
        limits = tf.cumsum(self._base.mixture_distribution.probs_parameter())[:-1]  # the last share takes what is left
        component = tf.reduce_sum(tf.cast(uniforms[..., self._size :] >= limits, tf.int32), axis=-1)
        return tf.gather(self._components.mean(), component) + tf.gather(self._components.stddev(), component) * eps

    def _eps(self, z: tf.Tensor) -> tf.Tensor:
        """`[B, K, D]`, z on the scale of each of the K components."""
        return (z[:, tf.newaxis, :] - self._components.mean()) / self._components.stddev()

    def _shares(self, eps: tf.Tensor) -> tf.Tensor:
        """`[B, K, D]`, how likely each component is, given the columns before."""
        weights = tf.math.log(self._base.mixture_distribution.probs_parameter())
        densities = -0.5 * tf.square(eps) - tf.math.log(self._components.stddev())
        before = tf.cumsum(densities, axis=2, exclusive=True)
        return tf.nn.softmax(weights[:, tf.newaxis] + before, axis=1)

    def _solve(self, eps: tf.Tensor, is_below: Any) -> tf.Tensor:
        own = self._components.mean()[:, 0] + self._components.stddev()[:, 0] * eps[:, tf.newaxis]

        def halve(low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            middle = (low + high) / 2
            below = is_below(middle[:, tf.newaxis])
            return tf.where(below, middle, low), tf.where(below, high, middle)

        low, high = tf.reduce_min(own, axis=1), tf.reduce_max(own, axis=1)
        low, high = tf.while_loop(lambda *_: True, halve, (low, high), maximum_iterations=_BISECTIONS[self._base.dtype])
        return (low + high) / 2


def _below(eps: tf.Tensor) -> tf.Tensor:
    """The share of the standard normal below `eps`, exact in the lower tail."""
    return 0.5 * tf.math.erfc(-math.sqrt(0.5) * eps)


def _normal_cdf(t: Array) -> Array:
    """Of the standard normal, float64, exact in the lower tail."""
    return np.asarray(np.vectorize(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)), otypes=[np.float64])(t))
