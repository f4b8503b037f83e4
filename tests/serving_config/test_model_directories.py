import pytest

from maf_serving.messages import message_class
from serving_config import BatchingParameters, ServedModel, ServingSpec, UsageError, VersionPolicy
from serving_config.generate import check_models


def write_version(base, version, *, seed_shape=(-1,)):
    saved_model = message_class("SavedModel")()
    signatures = saved_model.meta_graphs.add().signature_def
    for name, key, shape in (("log_prob", "x", (-1, 2)), ("sample_with_seed", "seed", seed_shape)):
        signatures[name].inputs[key].tensor_shape.SetInParent()
        for size in shape:
            signatures[name].inputs[key].tensor_shape.dim.add(size=size)
        signatures[name].outputs["log_prob"].tensor_shape.dim.add(size=-1)
    signatures["__saved_model_init_op"].outputs["op"].tensor_shape.SetInParent()
    directory = base / str(version)
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    return directory


@pytest.fixture
def base(tmp_path):
    for version in (1, 2, 5):
        write_version(tmp_path / "demo", version)
    return tmp_path / "demo"


def _check(base, batching=None, **model):
    return check_models(
        ServingSpec(models=(ServedModel(name="demo", base_path=str(base), **model),), batching=batching)
    )


def test_a_line_says_what_is_loaded(base):
    (line,) = _check(base, version_policy=VersionPolicy.parse("specific=1,5"), version_labels={"stable": 1})
    assert line == f"demo: {base} version(s) 1, 5 (without a contract)"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"version_labels": {"stable": 9}},
            "label stable of model demo is on version 9, which is not loaded; .* loads 5",
        ),
        ({"version_labels": {"stable": 1}}, "label stable of model demo is on version 1"),
        ({"version_policy": VersionPolicy.parse("specific=1,7,8")}, r"version\(s\) 7, 8 .* there are 1, 2, 5"),
    ],
)
def test_versions_that_are_not_there_are_refused(base, model, message):
    with pytest.raises(UsageError, match=message):
        _check(base, **model)


def test_directories_that_are_no_base_path_are_refused(base, tmp_path):
    with pytest.raises(UsageError, match="is no directory"):
        _check(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"is a version; expected the directory it is in"):
        _check(base / "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no version"):
        _check(tmp_path / "empty")


def test_a_model_with_a_scalar_cannot_be_batched(base):
    batching = BatchingParameters(max_batch_size=8)
    _check(base, batching)
    write_version(base, 6, seed_shape=())
    with pytest.raises(UsageError, match=r"cannot be batched: input seed of signature sample_with_seed in .*6'"):
        _check(base, batching)
    _check(base)
    _check(base, batching, version_policy=VersionPolicy.parse("specific=5"))


def test_a_broken_model_or_contract_is_refused(base):
    (base / "5" / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(UsageError, match="expected a SavedModel"):
        _check(base, BatchingParameters())
    (base / "5" / "assets.extra").mkdir()
    (base / "5" / "assets.extra" / "contract.json").write_text("{}")
    with pytest.raises(UsageError, match="lacks the key 'event_columns'"):
        _check(base)


def test_remote_base_paths_are_not_looked_into():
    assert _check("gs://bucket/demo", version_labels={"stable": 3}) == ["demo: gs://bucket/demo (not looked into)"]
    (line,) = _check("s3://bucket/demo")
    assert "official servers since 2.7 read gs:// and mounted directories alone" in line
    with pytest.raises(UsageError, match=r"label stable .* version 3, which is not loaded"):
        _check(
            "gs://bucket/demo",
            version_policy=VersionPolicy.parse("specific=1,2"),
            version_labels={"stable": 3},
        )
