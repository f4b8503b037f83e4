import numpy as np
import pytest

from maf import FlowConfig, TrainingConfig, build_flow, fit

LEAST, MOST = 0.5, 3.0
ROWS = np.random.default_rng(0).normal(size=(500, 10)).astype(np.float32)  # nothing to learn but the moments


def new_flow():
    return build_flow(FlowConfig(event_size=2, condition_size=8, num_layers=1, condition_units=(32,)), seed=0)


def fitted(flow=None, *, most=MOST, **other):
    config = TrainingConfig(
        max_epochs=24,
        batch_size=50,
        patience=24,
        learning_rate=0.01,
        dropout=0.0,
        weight_decay=LEAST,
        most_weight_decay=most,
        checkpoint_seconds=0,
        jit_compile="off",
    )
    return fit(flow or new_flow(), ROWS[:300], ROWS[300:], event_size=2, config=config, **other)


def following(history):
    """The weight decay of the epoch after these."""
    last, best = history[-1], min(history, key=lambda record: record.validation_nll)
    if best is last:
        return last.weight_decay
    if last.training_nll < best.training_nll:
        return min(2 * last.weight_decay, MOST)
    return max(last.weight_decay / 2, LEAST)


def test_weight_decay_follows_what_overfits():
    history = fitted()
    assert history[0].weight_decay == LEAST
    assert max(record.weight_decay for record in history) == MOST
    for number in range(1, len(history)):
        assert history[number].weight_decay == following(history[:number])


def test_what_overfits_is_held_back():
    adaptive, constant = fitted(most=50.0), fitted(most=0.0)
    assert {record.weight_decay for record in constant} == {LEAST}
    assert adaptive[-1].training_nll > constant[-1].training_nll + 0.2
    assert adaptive[-1].validation_nll < constant[-1].validation_nll - 0.2


def test_an_interrupted_fit_goes_on_with_the_decay_that_it_had(tmp_path):
    before = []

    class Interruption:
        def on_step(self, epoch, step, steps, nll, rows):
            if epoch == 16 and step == 2:
                raise KeyboardInterrupt

        def on_epoch(self, history, *, is_best):
            before[:] = history

    with pytest.raises(KeyboardInterrupt):
        fitted(state_path=tmp_path / "state.npz", observer=Interruption())
    assert following(before) > LEAST
    continued = fitted(state_path=tmp_path / "state.npz")
    assert continued[:16] == before
    assert continued[16].weight_decay == following(before)


def test_no_decay_rises_unless_it_is_told_to():
    assert {record.weight_decay for record in fitted(most=TrainingConfig().most_weight_decay)} == {LEAST}
