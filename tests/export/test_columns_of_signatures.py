"""Signatures that take and give a tensor for each column."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from export import ContractError, ExportOptions, TrainedModel, TrainingSummary, export_model, read_contract
from export.contract import BY_COLUMN, Contract
from export.verification.replay import Replies, answer_object, answer_session
from maf_serving.columns import ConditionColumn, as_condition_columns, tensor_names
from serving_config.local_server.model_config import ModelConfig
from tests.export.conftest import replay_by
from tests.export.raw_rows import EVENT, RAW, X, examples, make_flow
from tests.serving_config.local_server.support import running

NULL_INTEGER = -(2**63)


@pytest.fixture(scope="module")
def signatures(raw_version):
    return tf.saved_model.load(str(raw_version)).signatures


def condition_tensors():
    """The conditions of `RAW`, a tensor a column, with nulls in their spelling."""
    null = RAW["null_categories"][:, 1]
    stores = [
        NULL_INTEGER if is_null else int(store) for is_null, store in zip(null, RAW["categories"][:, 1], strict=True)
    ]
    stores[4] = 70  # as `examples` has it
    return {
        "age": tf.constant(RAW["numbers"][:, 0], tf.float64),
        "income": tf.constant(RAW["numbers"][:, 1], tf.float64),
        "region": tf.constant(RAW["categories"][:, 0]),
        "store": tf.constant(stores, tf.int64),
    }


def event_tensors(x=X):
    return {name: tf.constant(x[:, place], tf.float64) for place, name in enumerate(EVENT)}


def encoded(signatures):
    """`conditional_input` of `RAW`."""
    raw = {**RAW, "categories": RAW["categories"].copy()}
    raw["categories"][4, 1] = b"70"
    return signatures["encode_condition"](**{k: tf.constant(v) for k, v in raw.items()})["conditional_input"]


def test_the_contract_says_what_each_column_is(raw_version):
    contract = read_contract(raw_version)
    assert contract.tensor_names == {name: name for name in (*EVENT, "age", "region", "income", "store")}
    inputs = {name: spec.dtype for name, spec in contract.signature("log_prob_columns").inputs.items()}
    numbers = dict.fromkeys(("x0", "x1", "age", "income"), "float64")
    assert inputs == {**numbers, "region": "string", "store": "int64"}
    drawn = contract.signature("sample_columns")
    assert set(drawn.inputs) == {"age", "region", "income", "store", "seed"}
    assert {name: (spec.dtype, spec.shape) for name, spec in drawn.outputs.items()} == dict.fromkeys(
        ("x0", "x1", "log_prob"), ("float32", (None,))
    )
    assert Contract.from_json(contract.to_json()) == contract


def test_rows_of_columns_have_the_density_of_the_same_rows_as_examples(signatures):
    by_column = signatures["log_prob_columns"](**event_tensors(), **condition_tensors())["log_prob"]
    by_example = signatures["log_prob_examples"](examples=tf.constant(examples()))["log_prob"]
    assert np.isfinite(by_column).all()
    np.testing.assert_allclose(by_column, by_example, rtol=1e-6)


def test_draws_and_summaries_are_those_of_the_vectors(signatures):
    seed = tf.range(5, dtype=tf.int64)
    vectors = signatures["sample_with_seed"](conditional_input=encoded(signatures), seed=seed)
    columns = signatures["sample_columns"](seed=seed, **condition_tensors())
    np.testing.assert_array_equal(np.stack([columns[name] for name in EVENT], axis=1), vectors["x"])
    np.testing.assert_array_equal(columns["log_prob"], vectors["log_prob"])
    of_vectors = signatures["summarize"](conditional_input=encoded(signatures), seed=seed)
    of_columns = signatures["summarize_columns"](seed=seed, **condition_tensors())
    for name in ("mean", "stddev", "quantiles"):
        np.testing.assert_array_equal(of_columns[name], of_vectors[name])


@pytest.mark.parametrize(
    ("column", "value"),
    [("age", np.nan), ("age", np.inf), ("age", 1e300), ("income", -np.inf), ("x1", np.nan), ("region", "<null>")],
)
def test_a_row_that_lacks_what_it_needs_is_nan_and_harms_no_other(signatures, column, value):
    inputs = {**event_tensors(), **condition_tensors()}
    usual = signatures["log_prob_columns"](**inputs)["log_prob"].numpy()
    values = inputs[column].numpy()
    values[1] = value.encode() if isinstance(value, str) else value
    broken = signatures["log_prob_columns"](**{**inputs, column: tf.constant(values)})["log_prob"].numpy()
    assert np.isnan(broken[1])
    np.testing.assert_array_equal(np.delete(broken, 1), np.delete(usual, 1))


@pytest.mark.parametrize("short", ["x0", "age", "region"])
def test_columns_of_different_lengths_are_refused(signatures, short):
    inputs = {**event_tensors(), **condition_tensors()}
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["log_prob_columns"](**{**inputs, short: inputs[short][:1]})


def test_a_server_takes_rows_by_column_names(raw_version, signatures):
    """As JSON, with the spellings of null that it can have."""
    rows = (
        '{"x0": 0.5, "x1": 1, "age": 30, "region": "north", "income": 2.5, "store": 7}, '
        '{"x0": 0.5, "x1": 1, "age": 30, "region": "nowhere", "income": NaN, "store": -9223372036854775808}'
    )
    expected = signatures["log_prob_columns"](
        x0=tf.constant([0.5, 0.5], tf.float64),
        x1=tf.constant([1, 1], tf.float64),
        age=tf.constant([30, 30], tf.float64),
        region=tf.constant(["north", "nowhere"]),
        income=tf.constant([2.5, np.nan], tf.float64),
        store=tf.constant([7, NULL_INTEGER], tf.int64),
    )["log_prob"]
    with running(ModelConfig(name="m", base_path=str(raw_version.parent))) as server:

        def ask(body):
            return server.post("/v1/models/m:predict", body).json

        reply = ask(f'{{"signature_name": "log_prob_columns", "instances": [{rows}]}}')
        np.testing.assert_allclose(reply["predictions"], expected, rtol=1e-5)
        drawn = ask(
            '{"signature_name": "sample_columns", "instances": '
            '[{"age": 30, "region": "north", "income": 2.5, "store": 7, "seed": 3}]}'
        )
        assert set(drawn["predictions"][0]) == {"x0", "x1", "log_prob"}
        assert "region" in ask('{"signature_name": "log_prob_columns", "instances": [{"x0": 1}]}')["error"]


def test_names_that_tensorflow_does_not_take_become_others(tmp_path, monkeypatch):
    """Of one event column, exact answers by column too; nothing collides with `seed` and `probability`."""
    replay_by(monkeypatch, lambda path, requests: Replies(answer_session(str(path), requests)))
    monkeypatch.setattr("export.verification.verification.LOADERS", ("session",))
    condition = as_condition_columns(["seed", "größe (cm)", "Seed"])
    flow = make_flow(condition, event_size=1)
    model = TrainedModel(distribution=flow, event_columns=("log_prob",), condition_columns=condition)
    version = export_model(model, tmp_path / "model", ExportOptions(warmup_batch_sizes=())).version_dir
    contract = read_contract(version)
    assert contract.tensor_names == {
        "log_prob": "log_prob_2",
        "seed": "seed_2",
        "größe (cm)": "gr__e__cm_",
        "Seed": "Seed_3",
    }
    assert set(BY_COLUMN) - {"in_range_columns"} <= set(contract.signatures)
    assert set(contract.signature("sample_columns").outputs) == {"log_prob_2", "log_prob"}
    signatures = tf.saved_model.load(str(version)).signatures
    given = {name: tf.constant([0.3], tf.float64) for name in ("seed_2", "gr__e__cm_", "Seed_3")}
    x = signatures["quantile_columns"](probability=tf.constant([0.9]), **given)["log_prob_2"]
    cdf = signatures["cdf_columns"](log_prob_2=tf.cast(x, tf.float64), **given)["cdf"]
    np.testing.assert_allclose(cdf, [0.9], atol=1e-5)


def test_draws_that_repeat_because_they_are_rounded_pass_verification(tmp_path, monkeypatch):
    """A count and a fraction; the count alone."""
    replay_by(monkeypatch, lambda path, requests: Replies(answer_object(str(path), requests)))
    monkeypatch.setattr("export.verification.verification.LOADERS", ("object",))
    for event, widths in ((("x0", "x1"), {"x0": 2.0}), (("x0",), {"x0": 5.0})):
        training = TrainingSummary(10, 1, 1, 1, 1.0, dequantization=widths)
        flow = make_flow(as_condition_columns(["c"]), event_size=len(event))
        model = TrainedModel(
            distribution=flow, event_columns=event, condition_columns=as_condition_columns(["c"]), training=training
        )
        options = ExportOptions(signatures=("sample", "sample_columns"), warmup_batch_sizes=())
        version = export_model(model, tmp_path / str(len(event)), options).version_dir
        draw = tf.saved_model.load(str(version)).signatures["sample_columns"]
        x0 = draw(c=tf.zeros(50, tf.float64), seed=tf.range(50, dtype=tf.int64))["x0"]
        np.testing.assert_array_equal(x0, np.round(x0 / widths["x0"]) * widths["x0"])


def test_tensor_names_are_different_and_stable():
    names = tensor_names(["a b", "a_b", "A_B", "1", "_", "if", "self", "日本"], ["seed"])
    assert list(names.values()) == ["a_b", "a_b_2", "A_B_3", "column_1", "column_", "if_2", "self_2", "column__2"]


def test_a_version_from_before_says_why_it_has_none(raw_version):
    text = json.loads((raw_version / "assets.extra/contract.json").read_text())
    del text["tensor_names"]
    text["signatures"] = {name: value for name, value in text["signatures"].items() if name not in BY_COLUMN}
    older = Contract.from_json(json.dumps(text))
    with pytest.raises(ContractError, match=r"no signature 'log_prob_columns': version .* knew no such thing"):
        older.signature("log_prob_columns")
    with pytest.raises(ContractError, match="'cdf_columns': it is of one event column, and the model has 2"):
        read_contract(raw_version).signature("cdf_columns")


def test_a_vocabulary_that_has_the_spelling_of_null_keeps_it():
    from export.answer_functions import _is_null  # noqa: PLC0415

    column = ConditionColumn(name="c", kind="string", vocabulary=("<null>", "a"), nullable=True)
    assert not _is_null(column, tf.constant(["<null>"])).numpy().any()
