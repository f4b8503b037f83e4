"""From a checkpoint to a served version that computes what the trained distribution computes."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export import CheckpointSource, ModelError, export_model, read_contract
from export.errors import CheckpointError
from export.verification import verification
from export.verification.comparison import LiveModel
from export.verification.replay import Replies, answer_object
from maf_serving.columns import as_condition_columns
from tests.export.conftest import CONDITION_SIZES, columns, replay_by


@pytest.fixture(autouse=True)
def one_loader(monkeypatch):
    """In this process, which saves seconds; the guide's tests have the whole verification."""
    monkeypatch.setattr(verification, "LOADERS", ("object",))
    replay_by(monkeypatch, lambda path, requests: Replies(answer_object(str(path), requests)))


@pytest.mark.parametrize("name", ["nested_chain", "inverted", "unconditional"])
def test_the_version_computes_what_was_trained(make_flow, tmp_path, name):
    condition_size = CONDITION_SIZES.get(name, 1)
    trained = make_flow(name, seed=8)
    event_size = int(trained.event_shape[0])
    prefix = tf.train.Checkpoint(flow=trained).save(str(tmp_path / "ckpt" / "flow"))
    source = CheckpointSource(
        builder=f"tests.export.conftest:{name}",
        checkpoint=Path(prefix),
        event_columns=tuple(columns("x", event_size)),
        condition_columns=as_condition_columns(columns("c", condition_size)),
    )
    exported = export_model(source.load(), tmp_path / "models")
    rng = np.random.default_rng(2)
    inputs = {"x": rng.normal(size=(50, event_size)).astype(np.float32)}
    if condition_size:
        inputs["conditional_input"] = rng.normal(size=(50, condition_size)).astype(np.float32)
    expected = LiveModel(trained).functions["log_prob"](inputs)["log_prob"]
    served = tf.saved_model.load(str(exported.version_dir)).signatures["log_prob"]
    found = served(**{key: tf.constant(value) for key, value in inputs.items()})["log_prob"].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert read_contract(exported.version_dir).condition_size == condition_size


def test_a_checkpoint_that_does_not_fit_is_no_model(make_flow, tmp_path):
    prefix = tf.train.Checkpoint(flow=make_flow("inverted")).save(str(tmp_path / "flow"))
    given = {"checkpoint": Path(prefix), "condition_columns": as_condition_columns(["c0"])}
    two = CheckpointSource(builder="tests.export.conftest:mixture", event_columns=("x0", "x1"), **given)
    with pytest.raises(CheckpointError):
        two.load()
    one = CheckpointSource(builder="tests.export.conftest:inverted", event_columns=("x0",), **given)
    with pytest.raises(ModelError, match="2 event dimensions; got 1 event columns"):
        one.load()
