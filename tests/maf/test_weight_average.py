import numpy as np

from maf import FlowConfig, TrainingConfig, build_flow, fit, mean_nll

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(600, 4)).astype(np.float32)


def fitted(**training):
    flow = build_flow(FlowConfig(event_size=1, condition_size=3, num_layers=1, condition_units=(32,)), seed=0)
    config = TrainingConfig(max_epochs=10, batch_size=50, jit_compile="off", **training)
    history = fit(flow, ROWS[:500], ROWS[500:], event_size=1, config=config)
    return flow, history


def test_what_is_kept_is_what_was_validated():
    flow, history = fitted(weight_average=0.5)
    best = min(record.validation_nll for record in history)
    np.testing.assert_allclose(mean_nll(flow, ROWS[500:], event_size=1)[0], best, atol=1e-5)


def test_a_mean_over_steps_moves_less_than_the_steps():
    (_, steps), (_, mean) = fitted(learning_rate=0.02, weight_average=0.0), fitted(learning_rate=0.02)
    wobble = [np.abs(np.diff([record.validation_nll for record in history])[3:]).mean() for history in (steps, mean)]
    assert wobble[1] < wobble[0]


def test_decay_shrinks_kernels_and_leaves_biases_and_moments_alone():
    (plain, _), (decayed, _) = fitted(weight_decay=0.0), fitted(weight_decay=4.0)
    kernels, shrunken = (
        [np.abs(v).mean() for v in flow.trainable_variables if "kernel" in v.name] for flow in (plain, decayed)
    )
    assert sum(shrunken) < 0.9 * sum(kernels)
    fixed = [[v.numpy() for v in flow.variables if not v.trainable] for flow in (plain, decayed)]
    assert all(np.array_equal(a, b) for a, b in zip(*fixed, strict=True))


def test_dropout_is_decided_by_the_seed():
    (first, _), (again, _), (other, _) = fitted(dropout=0.3), fitted(dropout=0.3), fitted(dropout=0.3, seed=1)
    weights = [[v.numpy() for v in flow.trainable_variables] for flow in (first, again, other)]
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))
