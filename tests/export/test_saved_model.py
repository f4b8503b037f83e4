"""The whole export: one process more, every file on disk, and what is left when it goes wrong."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from export import (
    ExportWarning,
    ModelError,
    PublishError,
    TrainingSummary,
    VerificationError,
    export_saved_model,
    read_contract,
)
from export import saved_model as saved_model_module
from export.verification.replay import Replies
from maf import create_named_maf
from tests.export.conftest import replay_by

tfb = tfp.bijectors
tfd = tfp.distributions


def tiny(base=None):
    maf = create_named_maf("maf", [4], event_size=2, condition_size=1)
    return tfd.TransformedDistribution(base or tfd.MultivariateNormalDiag(tf.zeros(2)), tfb.Chain([maf]))


def export_tiny(base_directory, **options):
    base = options.pop("base", None)
    return export_saved_model(
        tiny(base), base_directory, event_columns=["y", "größe"], conditional_columns=["c 0"], **options
    )


def test_layers_that_take_any_keyword_and_use_none_are_exported(tmp_path):
    """An unconditional chain by what it does; a signature reads as a conditional one's."""

    def layer(name):
        network = tfb.AutoregressiveNetwork(2, event_shape=[2], hidden_units=[4], activation="tanh")
        return tfb.MaskedAutoregressiveFlow(lambda x, **kwargs: network(x, **kwargs), name=name)

    chain = tfb.Chain([layer("a"), tfb.Permute([1, 0]), layer("b")])
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(2)), chain)
    version = export_saved_model(flow, tmp_path, event_columns=["x0", "x1"], signatures=["log_prob"])
    assert read_contract(version).conditional_columns == ()
    x = tf.constant([[0.5, -1.0], [2.0, 0.0], [-0.3, 0.1]])
    scored = tf.saved_model.load(str(version)).signatures["log_prob"](x=tf.identity(x))["log_prob"]
    np.testing.assert_allclose(scored, flow.log_prob(tf.identity(x)), rtol=1e-5)


def test_a_published_version(tmp_path):
    training = TrainingSummary(100, 10, 10, 7, validation_nll=1.5, test_nll=1.25)
    first = export_tiny(tmp_path / "models", training=training)
    assert first == tmp_path / "models" / "1"
    assert sorted(p.relative_to(first).as_posix() for p in first.rglob("*") if p.is_file()) == [
        "assets.extra/contract.json",
        "assets.extra/tf_serving_warmup_requests",
        "fingerprint.pb",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    contract = read_contract(first)
    assert contract.event_columns == ("y", "größe")
    assert contract.conditional_columns == ("c 0",)
    assert contract.training == training
    assert contract.tensorflow_version == tf.__version__


@pytest.fixture
def no_verification(monkeypatch):
    """A verification that finds nothing, at no cost."""
    replay_by(monkeypatch, lambda *_: Replies({}))
    monkeypatch.setattr(saved_model_module, "verify", lambda *_: saved_model_module.VerificationReport(()))
    monkeypatch.setattr(saved_model_module.VerificationReport, "require_agreement", lambda _: None)


@pytest.mark.usefixtures("no_verification")
def test_another_base_distribution_is_exported_without_sampling(tmp_path):
    base = tfd.Independent(tfd.Laplace(tf.zeros(2), tf.ones(2)), 1)
    with pytest.warns(ExportWarning, match="sampling signatures are left out: base distribution 'IndependentLaplace'"):
        version_dir = export_tiny(tmp_path, base=base)
    assert set(read_contract(version_dir).signatures) == {
        "log_prob",
        "serving_default",
        "inverse",
        "forward",
        "regress",
        "conditional_cdf",
        "summarize",
        "log_prob_columns",
        "summarize_columns",
    }


@pytest.mark.usefixtures("no_verification")
def test_no_warning_without_reason(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExportWarning)
        export_tiny(tmp_path)


@pytest.mark.usefixtures("no_verification")
def test_an_existing_version_is_refused_before_work_begins(tmp_path):
    export_tiny(tmp_path, version=4)
    with pytest.raises(PublishError, match="version 4 exists"):
        export_tiny(tmp_path, version=4)
    assert export_tiny(tmp_path).name == "5"


def leftovers(base):
    return [entry.name for entry in base.iterdir() if entry.name != ".lock"]


def test_a_full_disk_publishes_nothing(tmp_path):
    """Stood in for by a limit on the size of files."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        with pytest.raises(PublishError, match=r"cannot take the version, nothing is published: .*too large") as caught:
            export_tiny(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "\n" not in str(caught.value)
    assert not leftovers(tmp_path)


def test_a_version_that_fails_verification_is_not_published(tmp_path, monkeypatch):
    def disagree(*_):
        raise VerificationError("it does not agree")

    monkeypatch.setattr(saved_model_module, "verify", disagree)
    with pytest.raises(VerificationError, match="it does not agree"):
        export_tiny(tmp_path)
    assert not leftovers(tmp_path)


STUCK = """
import sys, time
import tensorflow as tf, tensorflow_probability as tfp
from export import saved_model
from maf.layers import create_named_maf
def verify(*_):
    print("verifying", flush=True)
    time.sleep(60)
saved_model.verify = verify
maf = create_named_maf("maf", [4], event_size=2, condition_size=0)
flow = tfp.distributions.TransformedDistribution(tfp.distributions.MultivariateNormalDiag(tf.zeros(2)), maf)
saved_model.export_saved_model(flow, sys.argv[1], event_columns=["a", "b"])
"""


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_while_it_verifies(tmp_path, kill):
    command = [sys.executable, "-c", STUCK, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout.readline() == "verifying\n"
        process.send_signal(kill)
        process.wait(timeout=30)
    left = leftovers(tmp_path)
    if kill == signal.SIGKILL:
        assert len(left) == 1
        assert left[0].startswith(".staging-"), "invisible to TF Serving, and removed by the next export"
    else:
        assert not left


@pytest.mark.usefixtures("no_verification")
def test_a_remote_base_gets_the_whole_version(tmp_path):
    """Through `tf.io.gfile`; what it holds loads."""
    base = f"file://{tmp_path}/remote/demo"
    assert export_tiny(base) == f"{base}/1"
    assert export_tiny(base) == f"{base}/2"
    local = tmp_path / "remote" / "demo"
    assert leftovers(local) in (["1", "2"], ["2", "1"])
    assert read_contract(local / "2").event_columns == ("y", "größe")
    assert "log_prob" in tf.saved_model.load(f"{base}/2").signatures
    with pytest.raises(PublishError, match="version 2 exists"):
        export_tiny(base, version=2)


def test_a_scheme_that_tensorflow_does_not_know(tmp_path):
    with pytest.raises(PublishError, match=r"'nosuch://b' cannot take the version, nothing is published: .*'nosuch'"):
        export_tiny("nosuch://b")


@pytest.mark.usefixtures("no_verification")
def test_a_model_that_fails_at_inputs_of_its_own_is_told_from_a_base_that_takes_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise tf.errors.InvalidArgumentError(None, None, "no such place")

    monkeypatch.setattr(saved_model_module, "draw_inputs", fail)
    with pytest.raises(ModelError, match="fails at typical inputs of its own: no such place"):
        export_tiny(tmp_path)
    assert not [entry for entry in tmp_path.iterdir() if entry.name != ".lock"]
