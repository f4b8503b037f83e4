from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from export import Contract, ContractError, TrainingSummary, read_contract
from export.answer_functions import column_signatures
from export.contract import CONTRACT_PATH, TensorSpec, check_column_names, find_version, list_versions
from export.signatures import make_signatures, sampling_signatures
from maf_serving.columns import as_condition_columns, tensor_names
from maf_serving.model_inputs import model_inputs
from maf_serving.training_profile import QUANTILE_STEPS, ColumnProfile, Quantiles, TrainingProfile


def make_contract(**changes) -> Contract:
    signatures = make_signatures(event_size=2, condition_size=1, dtype="float32", sampling=sampling_signatures(1))
    contract = Contract(
        event_columns=("y0", "y1"),
        conditional_columns=("c0",),
        dtype="float32",
        signatures=signatures,
        toolkit_version="1.2.3",
        tensorflow_version="2.19.1",
        training=TrainingSummary(100, 10, 10, 7, validation_nll=1.5, test_nll=None),
    )
    return dataclasses.replace(contract, **changes)


@pytest.mark.parametrize("training", [None, TrainingSummary(100, 10, 10, 7, -1.5, 2, {"x0": 0.5})])
def test_round_trip(training):
    contract = make_contract(training=training)
    assert Contract.from_json(contract.to_json()) == contract


def test_bounds_have_room_for_noise_and_no_key_where_there_are_none():
    training = TrainingSummary(
        100, 10, 10, 7, 1.5, dequantization={"y1": 0.5}, lower_bounds={"y0": 0.0, "y1": 1.0}, upper_bounds={"y1": 9.0}
    )
    contract = Contract.from_json(make_contract(training=training).to_json())
    assert contract.event_bounds == {"y0": (0, None), "y1": (0.75, 9.25)}
    inputs = model_inputs(contract, "log_prob", event_columns=("a", "b"))
    assert inputs.bounds == {"a": (0, None), "b": (0.75, 9.25)}
    assert model_inputs(contract, "sample").bounds == {}
    plain = make_contract()
    assert plain.event_bounds == make_contract(training=None).event_bounds == {}
    assert "bounds" not in plain.to_json()


def test_sizes_and_signatures():
    contract = make_contract()
    assert (contract.event_size, contract.condition_size) == (2, 1)
    assert contract.signature("log_prob").inputs["x"] == TensorSpec("float32", (None, 2))
    with pytest.raises(ContractError, match=r"no signature 'regres'; it has log_prob, serving_default"):
        contract.signature("regres")


REFUSED = {
    "an unknown key": (lambda d: d | {"extra": 1}, "contract has an unknown key 'extra'"),
    "an unknown inner key": (lambda d: d | {"training": {"rows": 1}}, "training has an unknown key 'rows'"),
    "a missing key": (lambda d: {k: v for k, v in d.items() if k != "dtype"}, "contract lacks the key 'dtype'"),
    "a list for a text": (lambda d: d | {"dtype": ["float32"]}, "dtype is .*; expected str"),
    "a text for a list": (lambda d: d | {"event_columns": "y0"}, "event_columns is 'y0'; expected list"),
    "a number as a column": (lambda d: d | {"event_columns": [1]}, r"event_columns\[0\] is 1; expected str"),
    "an unknown dtype": (lambda d: d | {"dtype": "int32"}, "dtype is 'int32'; expected one of float32, float64"),
    "a repeated column": (lambda d: d | {"conditional_columns": ["y0"]}, "column 'y0' is named 2 times"),
    "no event column": (lambda d: d | {"event_columns": []}, "event_columns is empty"),
    "an empty name": (lambda d: d | {"event_columns": [""]}, "column name '' is not a name"),
    "a text for a width": (
        lambda d: d | {"training": d["training"] | {"dequantization": {"x0": "1"}}},
        "training.dequantization.x0 is '1'; expected float",
    ),
    "true for a number": (lambda d: d | {"training": d["training"] | {"epochs": True}}, "training.epochs is True"),
    "a fraction for a count": (
        lambda d: d | {"training": d["training"] | {"epochs": 1.5}},
        "epochs is 1.5; expected int",
    ),
    "a list for the whole": (lambda d: [d], "contract is .*; expected dict"),
    "a shape without rows": (
        lambda d: d | {"signatures": {"s": {"inputs": {"x": {"dtype": "float32", "shape": [2]}}, "outputs": {}}}},
        "must start with null",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    change, message = REFUSED[case]
    text = json.dumps(change(json.loads(make_contract().to_json())))
    with pytest.raises(ContractError, match=message):
        Contract.from_json(text)


def test_refuses_what_is_no_json():
    with pytest.raises(ContractError, match="not JSON"):
        Contract.from_json("{")


def test_columns_may_be_any_text():
    check_column_names(["größe", "a b", "x,y"], ["c|0"])


def test_versions_of_a_base_directory(tmp_path):
    for name in ("2", "10", "9", ".staging-abc", "latest"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file is no version")
    assert list_versions(tmp_path) == [2, 9, 10]
    assert find_version(tmp_path) == tmp_path / "10"
    assert list_versions(tmp_path / "missing") == []


def test_find_version_takes_a_version_directory(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    assert find_version(tmp_path) == tmp_path


def test_find_version_refuses(tmp_path):
    with pytest.raises(ContractError, match=r"holds no saved_model\.pb and no version"):
        find_version(tmp_path)
    with pytest.raises(ContractError, match="does not exist"):
        find_version(tmp_path / "missing")


def test_read_contract(tmp_path):
    with pytest.raises(ContractError, match="cannot be read"):
        read_contract(tmp_path)
    path = tmp_path / CONTRACT_PATH
    path.parent.mkdir()
    path.write_text("{}")
    with pytest.raises(ContractError, match=r"contract.json: contract lacks the key 'event_columns'"):
        read_contract(tmp_path)
    path.write_text(make_contract().to_json())
    assert read_contract(tmp_path) == make_contract()


def wide_profile(size: int) -> TrainingProfile:
    """Of `size` event columns and as many plain conditional ones, with as many digits as float32 has."""
    rng = np.random.default_rng(0)
    columns = []
    for index in range(2 * size):
        values = np.unique(rng.normal(scale=1e4, size=QUANTILE_STEPS + 1).astype(np.float32))
        quantiles = Quantiles(
            values=tuple(map(float, map(str, values))),
            cumulative=(*(np.arange(1, QUANTILE_STEPS + 1) / 65.0000037).round(6).tolist(), 1.0),
        )
        columns.append(
            ColumnProfile(
                name=f"measurement_{index}", rows=10**6, mean=rng.normal(), stddev=rng.random(), quantiles=quantiles
            )
        )
    return TrainingProfile(event=tuple(columns[:size]), condition=tuple(columns[size:]))


def test_a_wide_contract_is_small():
    profile = wide_profile(250)
    event, condition = ([column.name for column in columns] for columns in (profile.event, profile.condition))
    signatures = make_signatures(event_size=250, condition_size=250, dtype="float32", sampling=sampling_signatures(1))
    names = tensor_names([*event, *condition])
    signatures |= column_signatures(signatures, event, as_condition_columns(condition), names, "float32")
    contract = make_contract(
        event_columns=tuple(event),
        conditional_columns=tuple(condition),
        signatures=signatures,
        training=TrainingSummary(100, 10, 10, 7, validation_nll=1.5, profile=profile),
        tensor_names=names,
    )
    text = contract.to_json()
    assert len(text.encode()) <= 10**6
    assert Contract.from_json(text) == contract


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_columns": ("y1", "y0")}, "training.profile.event is of y0 \\(number\\), y1 .*; expected y1"),
        ({"conditional_columns": ()}, "training.profile.condition is of c0 .*; expected nothing"),
    ],
)
def test_a_profile_is_of_the_columns(change, message):
    profile = wide_profile(2)
    names = iter(("y0", "y1", "c0"))
    event, condition = (
        tuple(dataclasses.replace(each, name=next(names)) for each in columns)
        for columns in (profile.event, profile.condition[:1])
    )
    training = TrainingSummary(100, 10, 10, 7, 1.5, profile=TrainingProfile(event=event, condition=condition))
    contract = make_contract(training=training)
    assert Contract.from_json(contract.to_json()) == contract
    with pytest.raises(ContractError, match=message):
        dataclasses.replace(contract, **change)
