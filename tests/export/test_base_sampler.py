from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from export import ModelError
from export.base_sampler import make_base_sampler

tfd = tfp.distributions

SEEDS = tf.range(20_000, dtype=tf.int64)
LOC, SCALE = [1.0, -2.0], [0.5, 3.0]

NORMALS = {
    "diagonal": lambda: tfd.MultivariateNormalDiag(LOC, SCALE),
    "standard diagonal": lambda: tfd.MultivariateNormalDiag(tf.zeros(2)),
    "scale alone": lambda: tfd.MultivariateNormalDiag(scale_diag=SCALE),
    "triangular": lambda: tfd.MultivariateNormalTriL(LOC, [[0.5, 0.0], [1.0, 3.0]]),
    "independent": lambda: tfd.Independent(tfd.Normal(LOC, SCALE), 1),
    "independent, variables": lambda: tfd.Independent(tfd.Normal(tf.Variable(LOC), tf.Variable(SCALE)), 1),
    "sample": lambda: tfd.Sample(tfd.Normal(0.0, 1.0), 2),
    "sample in float64": lambda: tfd.Sample(tfd.Normal(np.float64(0), np.float64(2)), [2]),
}


@pytest.mark.parametrize("name", NORMALS)
def test_normals_have_the_bases_mean_and_covariance(name):
    base = NORMALS[name]()
    z = make_base_sampler(base)(SEEDS).numpy()
    assert z.shape == (20_000, 2)
    assert z.dtype == base.dtype.as_numpy_dtype
    covariance = (
        base.covariance() if "independent" not in name and "sample" not in name else tf.linalg.diag(base.variance())
    )
    np.testing.assert_allclose(z.mean(axis=0), base.mean(), atol=0.1)
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.3)


def mixture(loc=((-10.0, 0.0), (10.0, 0.0), (0.0, 10.0))):
    components = tfd.MultivariateNormalDiag(tf.constant(loc), tf.constant([[0.1, 1.0], [0.2, 1.0], [0.3, 1.0]]))
    return tfd.MixtureSameFamily(tfd.Categorical(probs=[0.2, 0.5, 0.3]), components)


def test_a_mixture_picks_components_by_weight_and_draws_from_them():
    z = make_base_sampler(mixture())(SEEDS).numpy()
    nearest = np.abs(z[:, :1] - np.array([-10.0, 10.0, 0.0])).argmin(axis=1)
    shares = np.bincount(nearest) / len(z)
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=0.02)
    for component, (centre, scale) in enumerate([(-10, 0.1), (10, 0.2), (0, 0.3)]):
        column = z[nearest == component, 0]
        np.testing.assert_allclose([column.mean(), column.std()], [centre, scale], atol=0.02)


def test_a_mixture_of_independent_normals():
    components = tfd.Independent(tfd.Normal([[0.0, 0.0], [5.0, 5.0]], [[1.0, 1.0], [1.0, 1.0]]), 1)
    z = make_base_sampler(tfd.MixtureSameFamily(tfd.Categorical(probs=[0.5, 0.5]), components))(SEEDS).numpy()
    np.testing.assert_allclose(z.mean(axis=0), [2.5, 2.5], atol=0.1)


def test_draws_have_the_density_of_the_base():
    """The mean log-density of exact draws is minus the entropy; TFP's own draws say what that is."""
    base = mixture(((-1.0, 0.0), (1.0, 0.0), (0.0, 2.0)))
    ours = base.log_prob(make_base_sampler(base)(SEEDS)).numpy().mean()
    theirs = base.log_prob(base.sample(20_000, seed=tf.constant([1, 2]))).numpy().mean()
    assert abs(ours - theirs) < 0.05


@pytest.mark.parametrize(
    "base",
    [
        tfd.Independent(tfd.StudentT(3.0, tf.zeros(2), tf.ones(2)), 1),
        tfd.Sample(tfd.Laplace(0.0, 1.0), 2),
        tfd.MixtureSameFamily(
            tfd.Categorical(probs=[1.0]), tfd.MultivariateNormalTriL(tf.zeros([1, 2]), tf.eye(2)[tf.newaxis])
        ),
    ],
    ids=["StudentT", "Laplace", "mixture of full covariances"],
)
def test_refuses_other_bases_by_name(base):
    with pytest.raises(ModelError, match=rf"{base.name!r} is a .* cannot be drawn from by row seeds"):
        make_base_sampler(base)
