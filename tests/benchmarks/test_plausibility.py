import numpy as np
import pytest

from benchmarks.plausibility import ImplausibleError, check_agreement, check_draws, check_mass


class Gaussian:
    """A contender whose draws have one scale and whose log-density another, and a constant that is off."""

    name = "gaussian"

    def __init__(self, scale=1.0, drawn_scale=1.0, off=0.0):
        self._scale, self._drawn_scale, self._off = scale, drawn_scale, off

    def compute(self, quantity, inputs, output):
        with np.load(inputs) as arrays:
            x, c = arrays["x"], arrays["conditional_input"]
        if quantity == "sample":
            found = c[:, :1] + self._drawn_scale * np.random.default_rng(1).normal(size=x.shape)
        else:
            z = (x - c[:, :1]) / self._scale
            found = -0.5 * (z**2 + np.log(2 * np.pi)).sum(axis=1) - x.shape[1] * np.log(self._scale) + self._off
        np.save(output, found.astype(np.float32))


@pytest.fixture(params=[1, 2, 20])
def inputs(request, tmp_path):
    path = tmp_path / "rows.npz"
    rng = np.random.default_rng(0)
    x, c = (rng.normal(size=(4096, size)).astype(np.float32) for size in (request.param, 3))
    np.savez(path, x=x, conditional_input=c)
    return path


def test_draws_of_a_density_pass_and_draws_of_another_fail(inputs, tmp_path):
    assert check_draws(Gaussian(2.0, 2.0), inputs, tmp_path) == pytest.approx(-1, abs=0.1)
    for other in (Gaussian(1.0, 1.3), Gaussian(1.0, 0.75)):
        with pytest.raises(ImplausibleError, match="Stein's figure"):
            check_draws(other, inputs, tmp_path)


def test_a_density_that_does_not_integrate_to_one_fails(inputs, tmp_path):
    with np.load(inputs) as arrays:
        if arrays["x"].shape[1] > 2:
            return
    assert check_mass(Gaussian(), inputs, tmp_path) == pytest.approx(1, abs=0.01)
    with pytest.raises(ImplausibleError, match=r"integrates to 1\.0[45]"):
        check_mass(Gaussian(off=0.05), inputs, tmp_path)


def test_log_densities_of_one_flow_agree(inputs, tmp_path):
    assert check_agreement(Gaussian(), Gaussian(), inputs, tmp_path) == 0
    for other in (Gaussian(off=0.01), Gaussian(off=np.nan)):
        with pytest.raises(ImplausibleError, match="differ by"):
            check_agreement(other, Gaussian(), inputs, tmp_path)
