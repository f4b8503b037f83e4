import numpy as np
import pytest
import tensorflow as tf

from maf import FlowConfig, TrainingConfig, build_flow, fit
from maf.condition_encoder import condition_encoders
from maf.flow import size_training
from maf.shrinkage import Shrinkage, find_unrelated


def flow_of(**config):
    defaults = {"event_size": 2, "condition_size": 3, "num_layers": 1, "condition_units": (8,)}
    defaults |= {"condition_bins": 4, "condition_projections": 0}
    return build_flow(FlowConfig(**(defaults | config)), seed=0)


def kernels(flow):
    return {id(v): v.numpy() for v in flow.trainable_variables if "kernel" in v.name}


def first_kernel(flow):
    (encoder,) = condition_encoders(flow)
    return encoder.layers[0].kernel


def test_a_step_takes_the_same_off_the_root_mean_square_of_every_unrelated_column():
    flow = flow_of()
    kernel = first_kernel(flow)  # three standardised values, then four bins of each
    groups = [np.r_[c, 3 + 4 * c : 7 + 4 * c] for c in range(3)]
    kernel.assign(kernel * tf.constant([1.0, 1.0, 1e-3])[:, None].numpy()[np.r_[0, 1, 2, np.repeat([0, 1, 2], 4)]])
    before, others = kernel.numpy(), kernels(flow)
    Shrinkage.of(flow, TrainingConfig(column_shrinkage=0.5, unrelated_columns=(0, 2))).step(tf.constant(0.02))
    lost = [np.sqrt((before[group] ** 2).mean()) - np.sqrt((kernel.numpy()[group] ** 2).mean()) for group in groups]
    assert lost[:2] == pytest.approx([0.01, 0], rel=1e-4)
    assert not kernel.numpy()[groups[2]].any()
    del others[id(kernel)]
    assert all(np.array_equal(kernels(flow)[key], value) for key, value in others.items())


def test_projections_are_left_alone():
    flow = flow_of(condition_projections=5, projected_columns=(0, 2))
    (encoder,) = condition_encoders(flow)
    before, projection = first_kernel(flow).numpy(), encoder.projection.numpy()
    Shrinkage.of(flow, TrainingConfig(column_shrinkage=0.5, unrelated_columns=(1,))).step(tf.constant(0.02))
    of_projections = slice(3 + 3 * 4, None)  # three standardised values, four bins of each
    assert len(before[of_projections]) == 3 * 5
    np.testing.assert_array_equal(first_kernel(flow).numpy()[of_projections], before[of_projections])
    np.testing.assert_array_equal(encoder.projection, projection)


def test_columns_that_have_no_say_lose_their_weights_in_training():
    rng = np.random.default_rng(0)
    c = rng.normal(size=(4_000, 4))
    x = np.sin(2 * c[:, :1]) + 0.2 * rng.normal(size=(4_000, 1))
    rows = np.concatenate([x, c], axis=1).astype(np.float32)

    def sizes(strength):
        flow = flow_of(event_size=1, condition_size=4, condition_units=(32,))
        config = TrainingConfig(
            max_epochs=12,
            batch_size=100,
            jit_compile="off",
            column_shrinkage=strength,
            unrelated_columns=find_unrelated(rows[:, 1:], rows[:, :1]),
        )
        fit(flow, rows[:3_000], rows[3_000:], event_size=1, config=config)
        kernel = first_kernel(flow).numpy()
        return [np.sqrt((kernel[np.r_[c, 4 + 4 * c : 8 + 4 * c]] ** 2).mean()) for c in range(4)]

    (said, *unsaid), (before, *noise) = sizes(0.3), sizes(0.0)
    assert said > 0.7 * before
    assert before < 4 * min(noise)
    assert max(unsaid) < 0.3 * min(noise)


@pytest.fixture(scope="module")
def conditions():
    c = np.random.default_rng(0).normal(size=(20_000, 8))
    c[:, 7] = np.round(c[:, 7])
    c[::3, 6] = np.nan
    return c


NOISE = np.random.default_rng(1).normal(size=(20_000, 2))
RELATIONS = {
    "mean": (lambda c: c[:, :1] / 5 + NOISE[:, :1], {0}),
    "noise": (lambda c: NOISE[:, :1] * np.exp(c[:, 1:2] / 5), {1}),
    "hump": (lambda c: NOISE[:, :1] / 3 + np.cos(4 * c[:, 2:3]), {2}),
    "product of two": (lambda c: NOISE[:, :1] + c[:, 2:3] * c[:, 3:4] / 3, {2, 3}),
    "correlation of two event columns": (lambda c: NOISE * [1, 0.3] + np.tanh(c[:, 4:5]) * NOISE[:, :1] * [0, 1], {4}),
    "that it is null": (lambda c: NOISE[:, :1] + np.isnan(c[:, 6:7]) / 5, {6}),
    "whole numbers": (lambda c: NOISE[:, :1] + c[:, 7:] / 10, {7}),
    "nothing": (lambda c: NOISE, set()),
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_every_kind_of_relation_is_found_and_what_has_none_is_not_taken_for_one(conditions, relation):
    event, related = RELATIONS[relation]
    assert set(find_unrelated(conditions, event(conditions))) == set(range(8)) - related


@pytest.mark.filterwarnings("error")
def test_columns_without_values_and_constant_ones_show_no_relation():
    numbers = np.stack([NOISE[:, 0], np.full(20_000, np.nan), np.full(20_000, 3.0)], axis=1)
    assert find_unrelated(numbers, NOISE[:, :1] + 0.1) == (1, 2)
    assert find_unrelated(numbers, np.full((20_000, 1), 7.0)) == (0, 1, 2)


def test_it_is_for_many_rows():
    many, few = (size_training(TrainingConfig(), rows, event_size=1, condition_size=5) for rows in (50_000, 2_000))
    assert many.column_shrinkage > few.column_shrinkage == 0
