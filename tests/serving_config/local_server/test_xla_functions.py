"""Functions with `jit_compile=True`, which TF Serving refuses to run unless it is told to compile."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving_config.local_server import RequestError
from serving_config.local_server.loading import LoadOptions, load_servable


@pytest.fixture(scope="module")
def version_dir(tmp_path_factory):
    """`inner` is compiled, `outer` calls it, `branch` calls it in one of two branches, `plain` needs none of it."""
    x = tf.TensorSpec([None], tf.float32, name="x")

    class Model(tf.Module):
        @tf.function(input_signature=[x], jit_compile=True)
        def inner(self, x):
            return {"y": x * 2}

        @tf.function(input_signature=[x])
        def outer(self, x):
            return {"y": self.inner(x)["y"] + 1}

        @tf.function(input_signature=[x])
        def branch(self, x):
            return {"y": tf.cond(tf.reduce_sum(x) > 1e9, lambda: self.inner(x)["y"], lambda: x)}

        @tf.function(input_signature=[x])
        def plain(self, x):
            return {"y": x + 1}

    model = Model()
    path = tmp_path_factory.mktemp("jit") / "1"
    names = ("inner", "outer", "branch", "plain")
    tf.saved_model.save(model, str(path), signatures={name: getattr(model, name) for name in names})
    return path


@pytest.fixture(scope="module")
def ask(version_dir):
    servable = load_servable("jit", 1, version_dir, LoadOptions(), lambda _api, _seconds: None)

    def ask(name):
        signature = servable.signatures[name]
        feeds = {signature.inputs["x"].name: np.float32([1.0])}
        return servable.run("Predict", feeds, [signature.outputs["y"].name], None)[0].tolist()

    yield ask
    servable.close()


@pytest.mark.parametrize("name", ["inner", "outer", "branch"])
def test_what_needs_a_compilation_is_refused(ask, name):
    with pytest.raises(RequestError, match="XLA compilation disabled") as refused:
        ask(name)
    assert refused.value.code.name == "INTERNAL"


def test_what_does_not_is_answered(ask):
    assert ask("plain") == [2.0]


def test_a_server_that_may_compile_answers_all(version_dir):
    servable = load_servable("jit", 1, version_dir, LoadOptions(xla="compile"), lambda _api, _seconds: None)
    signature = servable.signatures["outer"]
    feeds = {signature.inputs["x"].name: np.float32([1.0])}
    assert servable.run("Predict", feeds, [signature.outputs["y"].name], None)[0].tolist() == [3.0]
    servable.close()
