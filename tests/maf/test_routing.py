import functools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from maf import create_named_maf, make_bijector_kwargs
from maf.errors import ConfigError, RoutingError
from maf.routing import is_conditional

C = np.array([[0.5], [-1.0], [2.0]], np.float32)
KWARGS = {"conditional_input": C}


def layer(name, condition_size=1):
    return create_named_maf(name, [8], event_size=2, condition_size=condition_size)


def test_chain_gives_each_conditional_layer_its_kwargs_and_others_none():
    chain = tfb.Chain([layer("a"), tfb.Permute([1, 0]), tfb.Shift([1.0, 2.0]), layer("b"), tfb.Permute([1, 0])])
    assert make_bijector_kwargs(chain, KWARGS) == {"a": KWARGS, "b": KWARGS}


def test_nested_chains_and_inverts_are_routed_as_tfp_looks_kwargs_up():
    inner = tfb.Chain([layer("a"), tfb.Invert(layer("b"))], name="inner")
    chain = tfb.Chain([inner, tfb.Invert(tfb.Chain([layer("c")], name="deep"), name="inverted")])
    kwargs = make_bijector_kwargs(chain, KWARGS)
    inverted_layer = inner.bijectors[1].name
    assert kwargs == {"inner": {"a": KWARGS, inverted_layer: KWARGS}, "inverted": {"c": KWARGS}}

    distribution = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros([2])), chain)
    x = tf.constant([[0.1, 0.2], [0.3, -0.4], [1.0, 2.0]])
    routed = distribution.log_prob(x, bijector_kwargs=kwargs)
    other = {"conditional_input": C + 1}
    for dropped in (("inner", "a"), ("inner", inverted_layer), ("inverted", "c")):
        changed = {outer: dict(layers) for outer, layers in kwargs.items()}
        changed[dropped[0]][dropped[1]] = other
        assert not np.allclose(routed, distribution.log_prob(tf.identity(x), bijector_kwargs=changed))


def test_a_single_layer_gets_the_kwargs_themselves():
    assert make_bijector_kwargs(layer("a"), KWARGS) == KWARGS
    assert make_bijector_kwargs(tfb.Invert(layer("a")), KWARGS) == KWARGS


def test_patterns_choose_among_layers():
    chain = tfb.Chain([layer("young_0"), layer("old_0")])
    other = {"conditional_input": -C}
    assert make_bijector_kwargs(chain, {"young": KWARGS, "old": other}) == {"young_0": KWARGS, "old_0": other}
    assert make_bijector_kwargs(chain, {".*_0": KWARGS}) == {"young_0": KWARGS, "old_0": KWARGS}


def test_a_pattern_that_leaves_a_layer_without_input_is_refused():
    chain = tfb.Chain([layer("maf_0"), layer("mfa_1")], name="flow")
    with pytest.raises(RoutingError, match="'flow/mfa_1' would get no conditional_input"):
        make_bijector_kwargs(chain, {"maf": KWARGS})


@pytest.mark.parametrize("kwargs", [{}, {"conditonal_input": C}, {"conditional_input": None}])
def test_a_layer_that_would_get_no_input_is_named(kwargs):
    chain = tfb.Chain([tfb.Chain([layer("maf_1")], name="inner")], name="flow")
    with pytest.raises(RoutingError, match="'flow/inner/maf_1' would get no conditional_input"):
        make_bijector_kwargs(chain, kwargs)


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(RoutingError, match="2 bijectors of 'flow' are named 'maf'"):
        make_bijector_kwargs(tfb.Chain([layer("maf"), layer("maf")], name="flow"), KWARGS)


def test_a_layer_that_shares_its_name_with_any_other_bijector_is_refused():
    with pytest.raises(RoutingError, match="named 'maf'"):
        make_bijector_kwargs(tfb.Chain([layer("maf"), tfb.Permute([1, 0], name="maf")]), KWARGS)


def test_unconditional_flows_take_no_kwargs():
    chain = tfb.Chain([layer("a", condition_size=0), tfb.Permute([1, 0])])
    assert not is_conditional(chain)
    assert make_bijector_kwargs(chain, {}) == {}
    with pytest.raises(RoutingError, match="no conditional layer"):
        make_bijector_kwargs(chain, KWARGS)


def network(*, conditional=True, built=True):
    made = tfb.AutoregressiveNetwork(
        params=2,
        event_shape=[2],
        conditional=conditional,
        conditional_event_shape=[1] if conditional else None,
        hidden_units=[4],
    )
    if built:
        made.build([None, 2])
    return made


class Affine(tfb.Bijector):
    """A user's own bijector, which takes anything; `uses` says whether it makes something of it."""

    def __init__(self, *, uses, name):
        super().__init__(forward_min_event_ndims=1, name=name)
        self.uses = uses

    def _shift(self, kwargs):
        return kwargs["conditional_input"][:, :1] if self.uses else 1.0

    def _forward(self, x, **kwargs):
        return x + self._shift(kwargs)

    def _inverse(self, y, **kwargs):
        return y - self._shift(kwargs)

    def _inverse_log_det_jacobian(self, y, **kwargs):
        return tf.zeros_like(y[:, 0])


def of(function, name="layer"):
    return tfb.MaskedAutoregressiveFlow(function, name=name)


def spline_free(x, **kwargs):
    return tfb.Shift(tf.zeros_like(x))


def with_optional(made):
    return lambda x, conditional_input=None: made(x, conditional_input)


def with_any(made):
    return lambda x, **kwargs: made(x, **kwargs)


def halved(made, x, **kwargs):
    return 0.5 * made(x, **kwargs)


def handed_to_nobody(x, **kwargs):
    def network_of(x):
        return x * 0, x * 0

    return network_of(x, **kwargs)


@pytest.mark.parametrize(
    ("make", "conditional"),
    [
        (lambda: of(network()), True),
        (lambda: of(network(conditional=False)), False),
        (lambda: of(with_any(network())), True),
        (lambda: of(with_any(network(conditional=False))), False),
        (lambda: of(with_any(network(built=False))), True),
        (lambda: of(with_any(network(conditional=False, built=False))), False),
        (lambda: of(with_optional(network())), True),
        (lambda: of(with_optional(network(conditional=False))), False),
        (lambda: of(functools.partial(halved, network())), True),
        (lambda: of(functools.partial(halved, network(conditional=False))), False),
        (lambda: of(lambda x: (x * 0, x * 0)), False),
        (lambda: of(lambda x, **kwargs: (x * 0, x * 0)), False),
        (lambda: of(lambda x, **kwargs: (x * 0, x * 0 + kwargs["conditional_input"][:, :1])), True),
        (lambda: of(lambda x, conditional_input: (x * 0, x * 0)), True),  # it cannot be called without one
        (lambda: of(handed_to_nobody), False),
        (lambda: tfb.MaskedAutoregressiveFlow(bijector_fn=spline_free), False),
        (lambda: tfb.MaskedAutoregressiveFlow(bijector_fn=lambda x, **kwargs: tfb.Shift(sum(kwargs.values()))), True),
        (lambda: Affine(uses=True, name="layer"), True),
        (lambda: Affine(uses=False, name="layer"), False),
    ],
)
def test_a_layer_is_conditional_by_what_it_does(make, conditional):
    made = make()
    assert is_conditional(made) is conditional
    assert is_conditional(tfb.Chain([tfb.Invert(made)])) is conditional


def test_a_layer_that_nothing_can_be_tried_on_is_taken_at_its_word():
    def needs_three_columns(x, **kwargs):
        return tf.reshape(x, [-1, int(x.shape[-1])]) * 0, x * 0

    assert is_conditional(of(needs_three_columns))
    layer = of(needs_three_columns)
    assert not is_conditional(layer, event_size=3)
    assert not is_conditional(layer)  # found, and remembered


def test_a_float64_layer_is_tried_in_its_own_type():
    made = tfb.AutoregressiveNetwork(params=2, event_shape=[2], hidden_units=[4], dtype="float64")
    assert not is_conditional(of(with_any(made)))
    assert not is_conditional(of(lambda x, **kwargs: (x * np.float64(0), x * tf.zeros([], tf.float64))))


def test_a_mixed_chain_routes_to_those_that_make_use_of_it():
    layers = [
        of(with_any(network()), "a"),
        of(with_any(network(conditional=False)), "b"),
        tfb.Permute([1, 0]),
        of(with_optional(network()), "c"),
        of(handed_to_nobody, "d"),
    ]
    chain = tfb.Chain(layers)
    kwargs = make_bijector_kwargs(chain, KWARGS)
    assert kwargs == {"a": KWARGS, "c": KWARGS}
    distribution = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros([2])), chain)
    assert distribution.log_prob(tf.zeros([3, 2]), bijector_kwargs=kwargs).shape == [3]


def test_a_layer_is_tried_once(monkeypatch):
    calls = []

    def shift(x, **kwargs):
        calls.append(sorted(kwargs))
        return x * 0, x * 0

    layers = of(shift)
    for _ in range(3):
        is_conditional(layers)
    once = len(calls)
    assert once > 0
    is_conditional(layers, event_size=2)
    assert len(calls) == once


def test_a_name_that_is_a_parameter_inside_tfp_is_refused():
    chain = tfb.Chain([tfb.Chain([layer("b")], name="inner")], name="flow")
    with pytest.raises(RoutingError, match="layer 'b' of 'flow/inner' has the name of a parameter inside TFP"):
        make_bijector_kwargs(chain, KWARGS)


def test_a_named_layer_takes_the_shapes_that_networks_of_tfp_take():
    x, c = tf.zeros([3, 2]), tf.ones([3, 4])
    for shape, condition in (([2], [4]), ((2,), 4), (2, [4])):
        layer = create_named_maf("layer", [8], event_shape=shape, conditional_event_shape=condition)
        assert layer.inverse(x, conditional_input=c).shape == (3, 2)
    with pytest.raises(ConfigError, match=r"event_shape \[2\] and event_size 2 both came"):
        create_named_maf("layer", [8], event_shape=[2], event_size=2)
    with pytest.raises(ConfigError, match=r"event_shape is \[2, 3\]; expected that of a vector, such as \[2\]"):
        create_named_maf("layer", [8], event_shape=[2, 3])
