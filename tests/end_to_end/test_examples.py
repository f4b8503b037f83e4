import numpy as np
import pytest
import tf_keras

from examples import demo_density, five_layer_maf


def test_demo_density_integrates_to_one_and_its_draws_have_its_entropy():
    x0, x1 = np.linspace(-15, 55, 1_201), np.linspace(-6, 6, 1_201)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(x0, x1)], axis=1)
    for condition in (-1.0, 0.2, 1.0):
        density = np.exp(demo_density.log_prob(grid, np.full((len(grid), 1), condition)))
        assert density.sum() * (x0[1] - x0[0]) * (x1[1] - x1[0]) == pytest.approx(1, abs=1e-6)
    rng = np.random.default_rng(0)
    c = demo_density.sample_conditions(100_000, rng)
    nll = -demo_density.log_prob(demo_density.sample(c, rng), c)
    assert nll.mean() == pytest.approx(demo_density.entropy(), abs=4 * nll.std() / np.sqrt(len(nll)))


@pytest.fixture(scope="module")
def five_layers():
    tf_keras.utils.set_random_seed(0)  # of the initial weights
    distribution = five_layer_maf.build()
    return distribution, five_layer_maf.train(distribution, max_epochs=6)


def test_five_plain_layers_train_to_the_entropy(five_layers):
    _, nll = five_layers
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.25)  # E[c] = 0
    assert nll == pytest.approx(entropy, abs=0.03)


def test_five_plain_layers_sample_what_they_learnt(five_layers):
    distribution, _ = five_layers
    c = np.full((20_000, 1), 0.5, np.float32)
    draws = five_layer_maf.sample(distribution, c, seed=1)
    assert draws.mean() == pytest.approx(1.0, abs=0.1)
    assert draws.std() == pytest.approx(0.5 * np.exp(0.25), abs=0.05)
