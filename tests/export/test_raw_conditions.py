"""Signatures that take the raw columns of a condition."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from export import (
    ConditionColumn,
    ContractError,
    TrainedModel,
    VerificationError,
    export_saved_model,
    read_contract,
)
from export.signatures import Request, read_warmup
from export.verification import verification
from export.verification.comparison import LiveModel
from export.verification.inputs import draw_inputs
from export.verification.replay import Replies, answer_object, answer_session
from export.verification.verification import verify
from export.verification.version import verify_version
from maf_serving.columns import as_condition_columns
from tests.export.conftest import replay_by
from tests.export.raw_rows import COLUMNS, ENCODED, EVENT, NAMES, RAW, X, example, examples, make_flow


@pytest.fixture(scope="module", params=["object", "session"])
def ask(request, raw_version):
    """Both loaders."""
    answer = {"object": answer_object, "session": answer_session}[request.param]

    def of(name, **inputs):
        replies = Replies(answer(str(raw_version), [Request("one", name, inputs)]))
        (output,) = read_contract(raw_version).signature(name).outputs
        return replies.output(request.param, "one", output)

    return of


def expected_encoding():
    return np.array([[row.get(name, 0) for name in NAMES] for row in ENCODED], np.float32)


def test_columns_are_encoded_by_name(ask):
    np.testing.assert_array_equal(ask("encode_condition", **RAW), expected_encoding())


def test_examples_are_scored_as_their_encoding_is(ask):
    encoded = expected_encoding()
    raw = ask("log_prob_examples", examples=examples())
    np.testing.assert_array_equal(raw, ask("log_prob", x=X, conditional_input=encoded))  # to the last bit
    assert np.isfinite(raw).all()
    assert len(np.unique(raw)) == 5


def test_a_row_that_lacks_what_it_needs_is_nan_alone(ask):
    broken = {name: value.copy() for name, value in RAW.items()}
    broken["numbers"][0, 0] = np.nan
    broken["numbers"][1, 1] = np.inf
    broken["null_categories"][2, 0] = True
    np.testing.assert_array_equal(
        np.isnan(ask("encode_condition", **broken)), np.repeat([[1], [1], [1], [0], [0]], len(NAMES), axis=1)
    )
    whole = {"x0": 0.5, "x1": 1.0, "age": 2.0, "region": b"north"}  # income and store may be null
    empty = tf.train.Feature(float_list=tf.train.FloatList(value=[]))
    rows = [
        example(**whole),
        *(example(**{name: value for name, value in whole.items() if name != lost}) for lost in whole),
        example(**whole | {"x1": empty}),
        example(**whole | {"age": float("inf")}),
        example(**whole | {"income": tf.train.Feature(), "extra": b"who knows"}),
    ]
    log_prob = ask("log_prob_examples", examples=np.array(rows, object))
    np.testing.assert_array_equal(np.isnan(log_prob), [0, 1, 1, 1, 1, 1, 1, 0])
    turned = ask("log_prob_examples", examples=np.array(rows[::-1], object))
    np.testing.assert_array_equal(turned, log_prob)  # place by place: products round by the place in a batch


REFUSED = {
    "text for a number": ({"age": b"2"}, "Key: age"),
    "a float for an integer": ({"store": 7.0}, "Key: store"),
    "two values": (
        {"age": tf.train.Feature(float_list=tf.train.FloatList(value=[1, 2]))},
        "Feature: age has more than one value; expected one, or none for null",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_row_fails_the_request(raw_version, case):
    features, message = REFUSED[case]
    row = example(**{"x0": 0.5, "x1": 1.0, "age": 2.0, "region": b"north"} | features)
    signature = tf.saved_model.load(str(raw_version)).signatures["log_prob_examples"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signature(examples=tf.constant([row]))


def test_warm_up_asks_every_signature(raw_version):
    contract = read_contract(raw_version)
    requests = read_warmup(raw_version)
    assert {request.signature for request in requests} == set(contract.signatures)
    replies = answer_object(str(raw_version), requests)
    assert all(np.isfinite(value).all() for value in replies.values())


@pytest.mark.usefixtures("replay_here")
def test_a_version_is_verified_again_with_itself(raw_version):
    verify_version(raw_version).require_agreement()


WRONG = {
    "another category": lambda key, v: v[:, ::-1] if key == "object|encode_condition|conditional_input" else v,
    "a bit of one number": lambda key, v: (
        np.nextafter(v, np.float32(9)) if key == "session|encode_condition in another batch|conditional_input" else v
    ),
    "a density": lambda key, v: v + 0.01 if key == "session|log_prob_examples|log_prob" else v,
    "a density by column": lambda key, v: v + 0.01 if key == "session|log_prob_columns|log_prob" else v,
    "draws by column": lambda key, v: v[::-1] if key == "object|sample_columns|x1" else v,
    "a summary by column": lambda key, v: v + 0.1 if key == "session|summarize_columns|mean" else v,
    "an answer to a null": lambda key, v: np.nan_to_num(v) if "that cannot be scored" in key else v,
}


@pytest.fixture(scope="module")
def answers():
    """Replies of the version, asked for once."""
    return {}


@pytest.fixture
def replay_here(monkeypatch):
    """One loader, in this process, which saves seconds."""
    monkeypatch.setattr(verification, "LOADERS", ("object",))
    replay_by(monkeypatch, lambda path, requests: Replies(answer_object(str(path), requests)))


@pytest.mark.parametrize("change", WRONG)
def test_wrong_answers_are_found(raw_flow, raw_version, answers, monkeypatch, change):
    def changed(path, requests):
        if not answers:
            answers.update(answer_object(str(path), requests) | answer_session(str(path), requests))
        return Replies({key: WRONG[change](key, value) for key, value in answers.items()})

    replay_by(monkeypatch, changed)
    inputs = draw_inputs(LiveModel(raw_flow), read_contract(raw_version), seed=1)
    with pytest.raises(VerificationError, match=r"encode_condition|log_prob_examples|_columns"):
        verify(LiveModel(raw_flow), raw_version, inputs).require_agreement()


def test_the_contract_says_what_the_columns_are(raw_version):
    contract = read_contract(raw_version)
    assert contract.condition_columns == COLUMNS
    assert contract.conditional_columns == NAMES
    inputs = {name: (spec.dtype, spec.shape) for name, spec in contract.signature("encode_condition").inputs.items()}
    assert inputs == {
        "numbers": ("float32", (None, 2)),
        "categories": ("string", (None, 2)),
        "null_categories": ("bool", (None, 2)),
    }


@pytest.mark.usefixtures("replay_here")
def test_double_precision_and_a_category_alone(tmp_path):
    """No numbers, nothing nullable: the inputs that are not needed are not there."""
    columns = [ConditionColumn(name="region", kind="string", vocabulary=("a", "b"))]
    version = export_saved_model(
        make_flow(columns, "float64"), tmp_path, event_columns=EVENT, condition_columns=columns
    )
    assert list(read_contract(version).signature("encode_condition").inputs) == ["categories"]
    encode = tf.saved_model.load(str(version)).signatures["encode_condition"]
    encoded = encode(categories=tf.constant([["b"], ["c"]]))["conditional_input"]
    assert encoded.dtype == tf.float64
    np.testing.assert_array_equal(encoded, [[0, 1, 0], [0, 0, 1]])


def test_plain_numbers_are_names(tmp_path):
    columns = (ConditionColumn(name="a"), ConditionColumn(name="b"))
    assert as_condition_columns(("a", "b")) == as_condition_columns(columns) == columns
    assert TrainedModel(distribution=None, event_columns=EVENT, condition_columns=columns).conditional_columns == (
        "a",
        "b",
    )
    with pytest.raises(ContractError, match="got 1 conditional_columns and 4 condition_columns; expected one"):
        export_saved_model(
            make_flow(), tmp_path, event_columns=EVENT, conditional_columns=["a"], condition_columns=COLUMNS
        )
    assert json.loads(json.dumps(list(tmp_path.iterdir()))) == []
