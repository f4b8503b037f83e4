"""The contract's JSON: what is written is read back, and nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export import Contract, ContractError, TrainingSummary
from export.contract import Signature, TensorSpec
from tests.properties.conftest import examples

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12)
COUNTS = st.integers(0, 2**62)
NLLS = st.floats(allow_nan=False, allow_infinity=False)
SPECS = st.builds(
    TensorSpec,
    st.sampled_from(["float32", "float64", "int64", "string"]),
    st.lists(st.integers(0, 99), max_size=2).map(lambda sizes: (None, *sizes)),
)
TENSORS = st.dictionaries(NAMES, SPECS, max_size=3)
TRAININGS = st.builds(
    TrainingSummary, COUNTS, COUNTS, COUNTS, COUNTS, NLLS, st.none() | NLLS, st.dictionaries(NAMES, NLLS, max_size=2)
)


@st.composite
def contracts(draw):
    columns = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    event_size = draw(st.integers(1, len(columns)))
    return Contract(
        event_columns=tuple(columns[:event_size]),
        conditional_columns=tuple(columns[event_size:]),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        signatures=draw(st.dictionaries(NAMES, st.builds(Signature, TENSORS, TENSORS, NAMES), max_size=3)),
        toolkit_version=draw(NAMES),
        tensorflow_version=draw(NAMES),
        training=draw(st.none() | TRAININGS),
    )


@examples(60)
@given(contracts())
def test_what_is_written_is_read_back(contract):
    assert Contract.from_json(contract.to_json()) == contract


def fixed(data):
    """The objects whose keys the schema fixes; names of signatures and tensors are free."""
    found = [data]
    for signature in data["signatures"].values():
        found += [signature, *signature["inputs"].values(), *signature["outputs"].values()]
    return found if data["training"] is None else [*found, data["training"]]


@examples(60)
@given(contracts(), st.data())
def test_a_key_that_is_not_known_is_refused(contract, data):
    tampered = json.loads(contract.to_json())
    place = data.draw(st.sampled_from(fixed(tampered)))
    key = data.draw(NAMES.filter(lambda name: name not in {*place, "condition_columns"}))
    renamed = data.draw(st.none() | st.sampled_from(sorted(place)))
    place[key] = 1 if renamed is None else place.pop(renamed)
    with pytest.raises(ContractError):
        Contract.from_json(json.dumps(tampered))


OTHERS = [None, True, 1.5, "text", [], {}, [[]], {"a": 1}, -1, [None], "float32"]


@examples(100)
@given(contracts(), st.data())
def test_a_value_of_another_kind_is_refused_or_read_as_it_is(contract, data):
    tampered = json.loads(contract.to_json())
    place = data.draw(st.sampled_from(fixed(tampered)))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(st.sampled_from(OTHERS))
    try:
        read = Contract.from_json(json.dumps(tampered))
    except ContractError as error:
        assert "\n" not in str(error)  # noqa: PT017  # if it is refused at all
    else:
        assert json.loads(read.to_json()) == tampered | {"training": json.loads(read.to_json())["training"]}


@examples(100)
@given(contracts(), st.data())
def test_a_text_that_was_cut_or_changed_never_ends_in_another_error(contract, data):
    text = contract.to_json()
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    tampered = (
        text[:start] + data.draw(st.text(max_size=5) | st.sampled_from(["[" * 10_000, "9" * 5_000])) + text[stop:]
    )
    try:
        Contract.from_json(tampered)
    except ContractError as error:
        assert "\n" not in str(error)  # noqa: PT017  # one line, if it is refused at all
