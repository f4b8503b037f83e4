"""Every variable from its value, every value to its variable, or one line that names them."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from export import ModelError, OptionError
from export.builder import Built
from export.check_model import check_masks, check_model
from export.checkpoint import check_checkpoint, restore_weights, used_variables
from export.errors import CheckpointError
from export.verification.comparison import LiveModel
from tests.export.conftest import CONDITION_SIZES, FLOWS, columns, layer, network, normal

tfb, tfd = tfp.bijectors, tfp.distributions
TRACKED = sorted(set(FLOWS) - {"spline"})


def sizes(distribution, condition_size):
    return int(distribution.event_shape[0]), condition_size


def built_layers(distribution, condition_size):
    """Calls the layers, as an export does before it restores."""
    event_size = int(distribution.event_shape[0])
    check_model(distribution, columns("x", event_size), columns("c", condition_size))
    return used_variables(distribution, event_size, condition_size)


def restored(distribution, path, condition_size, saved=None):
    used = built_layers(distribution, condition_size)
    restore_weights(Built(distribution=distribution, saved=distribution if saved is None else saved), path, used)
    return distribution


def log_prob(distribution, condition_size):
    rng = np.random.default_rng(5)
    dtype = distribution.dtype.as_numpy_dtype
    inputs = {"x": rng.normal(size=(20, int(distribution.event_shape[0]))).astype(dtype)}
    if condition_size:
        inputs["conditional_input"] = rng.normal(size=(20, condition_size)).astype(dtype)
    return LiveModel(distribution).functions["log_prob"](inputs)["log_prob"]


def two_layers(*, layers=2, hidden=8):
    chain = [
        tfb.MaskedAutoregressiveFlow(
            tfb.AutoregressiveNetwork(params=2, event_shape=[2], hidden_units=[hidden], activation="tanh"),
            name=f"maf_{i}",
        )
        for i in range(layers)
    ]
    return tfd.TransformedDistribution(normal(2), tfb.Chain(chain))


@pytest.fixture
def saved_two(tmp_path):
    return tf.train.Checkpoint(model=called(two_layers())).save(str(tmp_path / "ckpt"))


def called(distribution):
    distribution.log_prob(tf.zeros([1, 2]))
    return distribution


@pytest.mark.parametrize("name", TRACKED)
def test_a_checkpoint_restores_every_kind_of_flow(make_flow, tmp_path, name):
    condition_size = CONDITION_SIZES.get(name, 1)
    trained = make_flow(name, seed=3)
    optimizer = tf_keras.optimizers.Adam()
    optimizer.build(trained.trainable_variables)
    prefix = tf.train.Checkpoint(model=trained, optimizer=optimizer, step=tf.Variable(3)).save(str(tmp_path / "ckpt"))
    expected = log_prob(trained, condition_size)
    for path in (tmp_path, type(tmp_path)(prefix)):
        fresh = FLOWS[name]()
        assert not np.array_equal(log_prob(fresh, condition_size), expected) or name == "batch_norm"
        np.testing.assert_array_equal(log_prob(restored(fresh, path, condition_size), condition_size), expected)


def test_the_distribution_may_be_the_root_or_anywhere(tmp_path):
    trained = called(two_layers())
    holder = tf.Module()
    holder.flows = [tf.Module(), trained]
    for i, checkpoint in enumerate([tf.train.Checkpoint(root=trained), tf.train.Checkpoint(experiment=holder)]):
        prefix = checkpoint.write(str(tmp_path / f"{i}"))
        fresh = restored(two_layers(), tmp_path / prefix, 0)
        np.testing.assert_array_equal(log_prob(fresh, 0), log_prob(trained, 0))


def test_a_part_that_was_saved_is_given_by_the_builder(tmp_path):
    trained = called(two_layers())
    prefix = tf.train.Checkpoint(chain=trained.bijector).write(str(tmp_path / "part"))
    with pytest.raises(CheckpointError, match="holds nothing of the builder's TransformedDistribution"):
        restored(two_layers(), tmp_path / prefix, 0)
    fresh = two_layers()
    restored(fresh, tmp_path / prefix, 0, saved=tf.train.Checkpoint(chain=fresh.bijector))
    np.testing.assert_array_equal(log_prob(fresh, 0), log_prob(trained, 0))


def closure(hidden=8):
    parameters = network(2, 1)

    def shift_and_log_scale(x, conditional_input):
        return tf.unstack(parameters(x, conditional_input=conditional_input), num=2, axis=-1)

    chain = tfb.Chain([tfb.MaskedAutoregressiveFlow(shift_and_log_scale, name="hidden"), layer("maf_1", 2, 1)])
    return tfd.TransformedDistribution(normal(2), chain), parameters


def test_a_network_in_a_closure_is_missed_unless_it_is_given(tmp_path):
    trained, parameters = closure()
    built_layers(trained, 1)
    prefix = tf.train.Checkpoint(model=trained, network=parameters).write(str(tmp_path / "closure"))
    fresh, fresh_parameters = closure()
    with pytest.raises(CheckpointError, match="has no value for 9 of 18 variables of the model: dense"):
        restored(fresh, tmp_path / prefix, 1)
    restored(fresh, tmp_path / prefix, 1, saved=tf.train.Checkpoint(model=fresh, network=fresh_parameters))
    np.testing.assert_array_equal(log_prob(fresh, 1), log_prob(trained, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 3}, "has no value for 4 of 12 variables of the model: dense"),
        ({"layers": 1}, "has 4 values that the builder's model has no variable for: model/_bijector/"),
        ({"hidden": 9}, "build the model with the sizes it was trained with"),
    ],
)
def test_another_architecture_is_refused(saved_two, tmp_path, options, message):
    with pytest.raises(CheckpointError) as caught:
        restored(two_layers(**options), tmp_path / saved_two, 0)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_that_fit_are_told_apart_by_their_names(tmp_path):
    student, teacher = called(two_layers()), called(two_layers())
    prefix = tf.train.Checkpoint(student=student, teacher=teacher).write(str(tmp_path / "both"))
    with pytest.raises(CheckpointError, match=r"holds 2 objects that .* could be: student, teacher"):
        restored(two_layers(), tmp_path / prefix, 0)
    fresh = two_layers()
    restored(fresh, tmp_path / prefix, 0, saved=tf.train.Checkpoint(teacher=fresh))
    np.testing.assert_array_equal(log_prob(fresh, 0), log_prob(teacher, 0))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="names no latest checkpoint"):
        restored(two_layers(), tmp_path, 0)
    prefix = tf.train.Checkpoint(table=tf.Variable([1.0, 2.0])).write(str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match="holds nothing of the builder's"):
        restored(two_layers(), tmp_path / prefix, 0)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "old"), tensor_names=["dense/kernel"], shape_and_slices=[""], tensors=[tf.zeros([2])]
    )
    with pytest.raises(CheckpointError, match="holds variables by name alone"):
        restored(two_layers(), tmp_path / "old", 0)
    for name in ("none", "none.weights.h5", "model.keras"):
        with pytest.raises(OptionError, match=r"is not there|is a whole Keras model"):
            check_checkpoint(tmp_path / name)


class FlowModel(tf_keras.Model):
    """Trained by `fit`. Its networks are attributes if `keep` says so; else the distribution alone knows them."""

    def __init__(self, *, keep, layers=2):
        super().__init__()
        networks = [network(2, 1) for _ in range(layers)]
        if keep:
            self.networks = networks
        chain = [tfb.MaskedAutoregressiveFlow(each, name=f"maf_{i}") for i, each in enumerate(networks)]
        self.flow = tfd.TransformedDistribution(normal(2), tfb.Chain(chain))

    def call(self, rows):
        kwargs = {f"maf_{i}": {"conditional_input": rows[:, 2:]} for i in range(len(self.flow.bijector.bijectors))}
        return self.flow.log_prob(rows[:, :2], bijector_kwargs=kwargs)


def trained_by_keras(**options):
    model = FlowModel(**options)
    model.compile("adam", loss=lambda _, log_prob: -log_prob)
    rows = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    model.fit(rows, np.zeros(64), epochs=1, verbose=0)
    return model


@pytest.mark.parametrize("file", ["model.weights.h5", "model.h5", "model"])
def test_weights_of_keras(tmp_path, file):
    trained = trained_by_keras(keep=True)
    trained.save_weights(str(tmp_path / file))
    fresh = FlowModel(keep=True)
    if file == "model.h5":  # the old format wants the model called; Keras says so
        with pytest.raises(CheckpointError, match="Call the Model first"):
            restored(fresh.flow, tmp_path / file, 1, saved=fresh)
        fresh(tf.zeros([1, 3]))
    restored(fresh.flow, tmp_path / file, 1, saved=fresh)
    np.testing.assert_array_equal(log_prob(fresh.flow, 1), log_prob(trained.flow, 1))


def test_a_functional_model_of_keras(tmp_path):
    def make():
        made = tfb.AutoregressiveNetwork(params=2, event_shape=[2], hidden_units=[8], activation="tanh")
        flow = tfd.TransformedDistribution(normal(2), tfb.MaskedAutoregressiveFlow(made, name="maf"))
        x = tf_keras.Input([2])
        return flow, tf_keras.Model(x, flow.log_prob(x))

    flow, model = make()
    model.save_weights(str(tmp_path / "model.weights.h5"))
    fresh, fresh_model = make()
    restored(fresh, tmp_path / "model.weights.h5", 0, saved=fresh_model)
    np.testing.assert_array_equal(log_prob(fresh, 0), log_prob(flow, 0))


def test_weights_that_keras_left_out_are_named(tmp_path):
    path = tmp_path / "model.weights.h5"
    trained_by_keras(keep=False).save_weights(str(path))  # not a word of warning
    fresh = FlowModel(keep=False)
    with pytest.raises(
        CheckpointError, match=r"has no value for 18 of 18 variables .*: dense.* and 14 more; Keras saves"
    ):
        restored(fresh.flow, path, 1, saved=fresh)
    fresh = FlowModel(keep=False)
    with pytest.raises(ModelError, match=r"returned a TransformedDistribution alone: let it return a tuple"):
        restored(fresh.flow, path, 1)


def test_another_keras_model_is_refused(tmp_path):
    path = tmp_path / "model.weights.h5"
    trained_by_keras(keep=True).save_weights(str(path))
    smaller, larger = FlowModel(keep=True, layers=1), FlowModel(keep=True, layers=3)
    with pytest.raises(CheckpointError, match="has 9 values that the builder's model has no variable for: networks/"):
        restored(smaller.flow, path, 1, saved=smaller)
    with pytest.raises(
        CheckpointError, match=r"model\.weights\.h5 does not fit .* expected 2 variables, but received 0"
    ):
        restored(larger.flow, path, 1, saved=larger)
    path.write_bytes(b"no weights")
    whole = FlowModel(keep=True)
    with pytest.raises(CheckpointError, match="does not fit the builder's model"):
        restored(whole.flow, path, 1, saved=whole)


def test_masks_that_training_did_not_keep_are_refused():
    distribution = called(two_layers())
    used = built_layers(distribution, 0)
    check_masks(used)
    kernel = next(variable for variable in used if "kernel" in variable.name)
    kernel.assign(kernel + 0.5)
    named = rf"variable '{kernel.name}' of shape \[\d, \d\] breaks its constraint in \d+"
    with pytest.raises(ModelError, match=named):
        check_masks(used)
