import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from export import ModelError, OptionError
from export.builder import build, parse_builder

SOURCE = """
import tensorflow as tf
import tensorflow_probability as tfp

number = 7

def flow():
    return tfp.distributions.TransformedDistribution(
        tfp.distributions.MultivariateNormalDiag(tf.zeros(2)), tfp.bijectors.Shift([1.0, 2.0])
    )

def flow_and_saved():
    distribution = flow()
    return distribution, tf.train.Checkpoint(flow=distribution)

def normal(): return tfp.distributions.Normal(0.0, 1.0)
def nothing(): pass
def flow_and_names(): return flow(), ["flow"]
def three(): return 1, 2, 3
def failing(): raise RuntimeError("no\\n  weights here")
def wanting(path): return flow()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"flows_{tmp_path.name}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "prices.py").write_text(SOURCE)
    (package / "broken.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_builder_gives_its_distribution_and_what_was_saved(module):
    built = build(f"{module}.prices:flow")
    assert isinstance(built.distribution, tfp.distributions.TransformedDistribution)
    assert built.saved is built.distribution
    built = build(f"{module}.prices:flow_and_saved")
    assert isinstance(built.saved, tf.train.Checkpoint)
    assert built.saved.flow is built.distribution


@pytest.mark.parametrize("text", ["flows", "flows:", ":build", "flows.:build", "my flows:build", "flows:build()"])
def test_what_is_no_builder_is_refused(text):
    with pytest.raises(OptionError, match=r"expected package\.module:function"):
        parse_builder(text)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        ("absent:flow", OptionError, "cannot be imported: ModuleNotFoundError: No module named"),
        ("broken:flow", OptionError, "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("prices:absent", OptionError, "has no 'absent'; expected package.module:function"),
        ("prices:number", OptionError, "has no function, but a int, 'number'"),
        ("prices:failing", ModelError, "failed: RuntimeError: no weights here"),
        ("prices:wanting", ModelError, "failed: TypeError"),
        ("prices:nothing", ModelError, "returned nothing; expected a tfd.TransformedDistribution"),
        ("prices:normal", ModelError, "returned a Normal; expected a tfd.TransformedDistribution"),
        ("prices:flow_and_names", ModelError, "returned a distribution and a list; expected, beside the distribution"),
        ("prices:three", ModelError, "returned a tuple of int, int, int; expected"),
    ],
)
def test_each_failure_is_one_line(module, function, kind, message):
    with pytest.raises(kind) as caught:
        build(f"{module}.{function}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
