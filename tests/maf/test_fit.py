import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from maf import FlowConfig, TrainingConfig, build_flow, fit, mean_nll
from maf.errors import TrainingError
from maf.likelihood import RowsLikelihood


def bimodal_rows(n, seed):
    """`y | c` at c + 1 or c - 1 with deviation 0.2, whichever of the two: columns y, c."""
    rng = np.random.default_rng(seed)
    c = rng.uniform(-1, 1, n)
    y = c + rng.choice([-1.0, 1.0], n) + 0.2 * rng.normal(size=n)
    return np.stack([y, c], axis=1).astype(np.float32)


BIMODAL_ENTROPY = math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.2**2)
# the best Gaussian for y | c has the mixture's variance
GAUSSIAN_NLL = 0.5 * math.log(2 * math.pi * math.e * (1 + 0.2**2))


def train(flow, rows, config, **other):
    return fit(flow, rows[:-1_000], rows[-1_000:], event_size=1, config=config, **other)


@pytest.mark.parametrize(
    ("transform", "least", "most"),
    [("spline", BIMODAL_ENTROPY - 0.02, BIMODAL_ENTROPY + 0.05), ("affine", GAUSSIAN_NLL - 0.02, GAUSSIAN_NLL + 0.05)],
)
def test_spline_fits_two_modes_that_affine_layers_cannot(transform, least, most):
    flow = build_flow(FlowConfig(event_size=1, condition_size=1, num_layers=2, transform=transform), seed=0)
    config = TrainingConfig(max_epochs=8, batch_size=256, learning_rate_schedule="cosine")
    train(flow, bimodal_rows(20_000, 0), config)
    nll, standard_error = mean_nll(flow, bimodal_rows(20_000, 1), event_size=1)
    assert least < nll < most
    assert 0 < standard_error < 0.01


def test_masks_hold_after_training():
    flow = build_flow(FlowConfig(event_size=3, condition_size=1, num_layers=2, hidden_units=(8, 8)), seed=0)
    rows = np.random.default_rng(0).normal(size=(2_000, 4)).astype(np.float32)
    fit(flow, rows[500:], rows[:500], event_size=3, config=TrainingConfig(max_epochs=2, jit_compile="off"))
    masked = [variable for variable in flow.trainable_variables if variable.constraint is not None]
    assert len(masked) == 6
    for variable in masked:
        np.testing.assert_array_equal(variable.constraint(variable), variable)
        assert (variable.constraint(tf.ones_like(variable)).numpy() == 0).any()


def test_constraints_of_the_users_own_layers_hold_too():
    network = tfb.AutoregressiveNetwork(
        params=2, event_shape=[1], conditional=True, conditional_event_shape=[1], kernel_constraint="non_neg"
    )
    flow = tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(tf.zeros(1)), tfb.MaskedAutoregressiveFlow(network, name="own")
    )
    train(flow, bimodal_rows(3_000, 0) * [1, -1], TrainingConfig(max_epochs=2, jit_compile="off"))
    assert all((variable.numpy() >= 0).all() for variable in flow.trainable_variables if variable.shape.rank == 2)


def test_an_interrupted_fit_goes_on_as_if_nothing_had_happened(tmp_path):
    rows = bimodal_rows(6_000, 0)
    config = TrainingConfig(max_epochs=3, checkpoint_seconds=0, jit_compile="off")

    def new_flow():
        return build_flow(FlowConfig(event_size=1, condition_size=1, num_layers=1), seed=0)

    whole = new_flow()
    history = train(whole, rows, config)

    class Interruption:
        """Stops the fit in the middle of the second epoch."""

        def on_step(self, epoch, step, steps, nll, rows):
            if (epoch, step) == (1, steps // 2):
                raise KeyboardInterrupt

        def on_epoch(self, history, *, is_best):
            pass

    state = tmp_path / "state.npz"
    with pytest.raises(KeyboardInterrupt):
        train(new_flow(), rows, config, state_path=state, observer=Interruption())
    resumed = new_flow()
    continued = train(resumed, rows, config, state_path=state)
    assert [record.epoch for record in continued] == [1, 2, 3]
    for before, after in zip(history, continued, strict=True):
        assert after.validation_nll == pytest.approx(before.validation_nll, abs=1e-4)
        assert after.training_nll == pytest.approx(before.training_nll, abs=1e-4)
    for before, after in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-3)


def test_early_stopping_keeps_the_best_weights():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(size=300), rng.normal(size=300)], axis=1).astype(np.float32)
    flow = build_flow(FlowConfig(event_size=1, condition_size=1), seed=0)
    config = TrainingConfig(max_epochs=100, patience=3, batch_size=32, learning_rate=0.02, jit_compile="off")
    history = fit(flow, rows[:100], rows[100:], event_size=1, config=config)
    best = min(history, key=lambda record: record.validation_nll)
    assert len(history) <= best.epoch + 3 + 1 < 100
    assert mean_nll(flow, rows[100:], event_size=1)[0] == pytest.approx(best.validation_nll, abs=1e-5)
    assert history[-1].validation_nll > best.validation_nll
    assert history[-1].learning_rate < 0.02


def test_a_loss_that_is_no_number_is_an_error():
    flow = build_flow(FlowConfig(event_size=1, condition_size=1, num_layers=1), seed=0)
    for variable in flow.trainable_variables:
        variable.assign(variable * np.nan)
    with pytest.raises(TrainingError, match="lower --learning_rate"):
        train(flow, bimodal_rows(2_000, 0), TrainingConfig(max_epochs=2, jit_compile="off"))


def test_one_extreme_row_does_not_break_the_fit():
    rows = bimodal_rows(5_000, 0)
    rows[17, 0] = 1e30
    flow = build_flow(FlowConfig(event_size=1, condition_size=1, num_layers=1), seed=0)
    history = train(flow, rows, TrainingConfig(max_epochs=2, jit_compile="off"))
    assert math.isfinite(history[-1].validation_nll)


class Seconds:
    """A clock on which every step takes half a second."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.5  # asked before the step of an epoch, and after each
        return self.now


def test_training_is_done_when_its_seconds_are_over_in_the_middle_of_an_epoch_too():
    flow = build_flow(FlowConfig(event_size=1, condition_size=1, num_layers=1), seed=0)
    config = TrainingConfig(max_epochs=50, batch_size=50, max_seconds=60, jit_compile="off")
    history = train(flow, bimodal_rows(5_000, 0), config, clock=Seconds())  # 80 steps an epoch, half a second each
    assert [round(record.seconds) for record in history] == [40, 20]
    first, last = (record.learning_rate / config.learning_rate for record in history)
    assert first == pytest.approx(0.5 * (1 + math.cos(math.pi * 79 / 120)))
    assert last == pytest.approx(0.5 * (1 + math.cos(math.pi * 119 / 120)), abs=1e-6)


def test_seconds_are_counted_over_interruptions(tmp_path):
    rows, state = bimodal_rows(5_000, 0), tmp_path / "state.npz"
    config = TrainingConfig(max_epochs=50, batch_size=100, max_seconds=30, jit_compile="off", checkpoint_seconds=0)

    class Interruption:
        """Stops the fit after 15 of the first epoch's 40 steps."""

        def on_step(self, epoch, step, steps, nll, rows):
            if step == 15:
                raise KeyboardInterrupt

        def on_epoch(self, history, *, is_best):
            pass

    def flow():
        return build_flow(FlowConfig(event_size=1, condition_size=1, num_layers=1), seed=0)

    with pytest.raises(KeyboardInterrupt):
        train(flow(), rows, config, clock=Seconds(), state_path=state, observer=Interruption())
    history = train(flow(), rows, config, clock=Seconds(), state_path=state)
    assert sum(record.seconds for record in history) == pytest.approx(30, abs=1)
    assert len(history) == 2


@pytest.mark.parametrize("end", [{"max_seconds": 10, "max_epochs": 50}, {"max_epochs": 1}])
def test_an_epoch_that_a_kill_left_without_its_validation_gets_it(tmp_path, monkeypatch, end):
    rows, state = bimodal_rows(5_000, 0), tmp_path / "state.npz"
    config = TrainingConfig(batch_size=100, jit_compile="off", checkpoint_seconds=0, **end)  # 20 seconds an epoch

    def flow():
        return build_flow(FlowConfig(event_size=1, condition_size=1, num_layers=1), seed=0)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RowsLikelihood, "nll", killed)
        with pytest.raises(KeyboardInterrupt):
            train(flow(), rows, config, clock=Seconds(), state_path=state)
    resumed = flow()
    (record,) = train(resumed, rows, config, clock=Seconds(), state_path=state)
    assert record.validation_nll == pytest.approx(mean_nll(resumed, rows[-1_000:], event_size=1)[0], abs=1e-5)
    assert record.validation_nll < mean_nll(flow(), rows[-1_000:], event_size=1)[0]
