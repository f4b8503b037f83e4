"""Routing over random trees of bijectors, against a walk over what they were made of and against TFP's own result."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import event, given
from hypothesis import strategies as st
from tensorflow_probability import bijectors as tfb

from maf import make_bijector_kwargs
from maf.errors import RoutingError
from maf.routing import is_conditional
from tests.properties.conftest import examples

C = np.array([[0.5, -1.0], [2.0, 0.25]])
X = np.array([[0.3, -0.7], [1.5, 2.5]])
KWARGS = {"conditional_input": tf.constant(C)}


@dataclasses.dataclass(frozen=True)
class Node:
    """A bijector to be: a layer that adds `weight * sum(c)`, a shift by `weight`, a chain, or an inverse."""

    kind: str
    name: str
    weight: float = 0.0
    parts: tuple[Node, ...] = ()

    def build(self):
        parts = [part.build() for part in self.parts]
        if self.kind == "chain":
            return tfb.Chain(parts, name=self.name)
        if self.kind == "invert":
            return tfb.Invert(parts[0], name=self.name)
        if self.kind == "shift":
            return tfb.Shift(tf.constant(self.weight, tf.float64), name=self.name)

        def shift(x, conditional_input):
            return self.weight * tf.reduce_sum(conditional_input, axis=1, keepdims=True) + tf.zeros_like(x), None

        return tfb.MaskedAutoregressiveFlow(shift, name=self.name)

    def conditional(self):
        return self.kind == "layer" or any(part.conditional() for part in self.parts)

    def kwargs(self):
        if self.kind == "layer":
            return KWARGS
        if self.kind == "invert":
            return self.parts[0].kwargs()
        return {part.name: given for part in self.parts if (given := part.kwargs())}

    def ambiguous(self):
        counts = Counter(part.name for part in self.parts)
        here = self.kind == "chain" and any(counts[part.name] > 1 and part.conditional() for part in self.parts)
        return here or any(part.ambiguous() for part in self.parts)

    def has_taken_name(self, nested):
        here = nested and self.kind == "chain" and any(p.name == "b" and p.conditional() for p in self.parts)
        return here or any(part.has_taken_name(nested or self.kind == "chain") for part in self.parts)

    def apply(self, x, sign=1):
        if self.kind == "chain":
            for part in self.parts if sign < 0 else reversed(self.parts):
                x = part.apply(x, sign)
            return x
        if self.kind == "invert":
            return self.parts[0].apply(x, -sign)
        return x + sign * self.weight * (C.sum(axis=1, keepdims=True) if self.kind == "layer" else 1.0)


NAMES = st.sampled_from([*"acdegh", "maf_0", "inner", "b"])  # TFP has a parameter b where it walks inner chains
WEIGHTS = st.integers(-8, 8).map(lambda n: n / 4)
LEAVES = st.builds(Node, kind=st.sampled_from(["layer", "shift"]), name=NAMES, weight=WEIGHTS)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Node, kind=st.just("chain"), name=NAMES, parts=st.lists(inner, min_size=1, max_size=4).map(tuple))
        | st.builds(Node, kind=st.just("invert"), name=NAMES, parts=st.tuples(inner))
    ),
    max_leaves=8,
)


@examples(60)
@given(TREES)
def test_each_layer_gets_its_kwargs_or_the_tree_is_refused(tree):
    bijector = tree.build()
    assert is_conditional(bijector) == tree.conditional()
    if tree.ambiguous():
        event("two parts of one name")
        with pytest.raises(RoutingError, match="TFP routes kwargs by name"):
            make_bijector_kwargs(bijector, KWARGS)
        return
    if not tree.conditional():
        event("no layer")
        assert make_bijector_kwargs(bijector, {}) == {}
        with pytest.raises(RoutingError, match="no conditional layer"):
            make_bijector_kwargs(bijector, KWARGS)
        return
    if tree.has_taken_name(nested=False):
        event("a name that TFP has taken")
        with pytest.raises(RoutingError, match=r"layer 'b' of .* has the name of a parameter inside TFP"):
            make_bijector_kwargs(bijector, KWARGS)
        return
    event("routed")
    routed = make_bijector_kwargs(bijector, KWARGS)
    assert routed == tree.kwargs()
    np.testing.assert_allclose(bijector.forward(tf.constant(X), **routed), tree.apply(X), atol=1e-12)
    np.testing.assert_allclose(bijector.inverse(tf.constant(X), **routed), tree.apply(X, -1), atol=1e-12)
