from __future__ import annotations

import dataclasses
import json

import pytest

from export import ConditionColumn, Contract, ContractError
from export.contract import encoded_columns
from maf_serving.columns import number_entries, numbers_dtype
from tests.export.test_contract import make_contract

COLUMNS = (
    ConditionColumn(name="c0"),
    ConditionColumn(name="region", kind="string", vocabulary=("north", "größe=1")),
    ConditionColumn(name="income", nullable=True),
    ConditionColumn(name="store", kind="integer", vocabulary=(7, -(2**63)), nullable=True),
)
ENCODED = (
    *("c0", "region=north", "region=größe=1", "region=<other>", "income", "income is null"),
    *("store=7", "store=-9223372036854775808", "store=<other>", "store is null"),
)


def contract_with_categories() -> Contract:
    return make_contract(conditional_columns=ENCODED, condition_columns=COLUMNS)


def test_encoded_names():
    assert encoded_columns(COLUMNS) == ENCODED


def test_round_trip():
    contract = contract_with_categories()
    assert Contract.from_json(contract.to_json()) == contract
    assert contract.raw_condition_columns == COLUMNS
    assert contract.condition_size == len(ENCODED)


def test_plain_numbers_leave_the_contract_as_it_was():
    contract = make_contract()
    assert "condition_columns" not in json.loads(contract.to_json())
    assert contract.raw_condition_columns == (ConditionColumn(name="c0"),)


@pytest.mark.parametrize(("offset", "name"), [(1.7e9, "when - 1700000000"), (-0.25, "when + 0.25"), (0.0, "when")])
def test_an_offset_is_in_the_name_of_the_entry(offset, name):
    column = ConditionColumn(name="when", offset=offset)
    assert column.encoded_names == (name,)
    assert column.is_plain == (not offset)


def test_a_contract_tells_offsets_where_there_are_some_alone():
    """So that who knows none reads all that has none."""
    columns = (*COLUMNS, ConditionColumn(name="when", offset=1.7e9))
    contract = make_contract(conditional_columns=(*ENCODED, "when - 1700000000"), condition_columns=columns)
    assert Contract.from_json(contract.to_json()) == contract
    told = json.loads(contract.to_json())["condition_columns"]
    assert [column.get("offset") for column in told] == [None, None, None, None, 1.7e9]


def test_a_point_in_time_is_a_column_of_parts():
    when = ConditionColumn(
        name="when", kind="timestamp", parts=("month", "trend", "day"), offset=-86_400.0, nullable=True
    )
    entries = ("month sin", "month cos", "days since 1969-12-31", "day sin", "day cos", "is null")
    assert when.encoded_names == tuple(f"when {entry}" for entry in entries)
    assert (when.is_plain, when.is_category, when.unit) == (False, False, 86_400.0)
    assert number_entries((*COLUMNS, when)) == [*number_entries(COLUMNS), len(ENCODED) + 2]
    assert (numbers_dtype([when], "float32"), numbers_dtype(COLUMNS, "float32")) == ("float64", "float32")
    contract = make_contract(conditional_columns=(*ENCODED, *when.encoded_names), condition_columns=(*COLUMNS, when))
    assert Contract.from_json(contract.to_json()) == contract
    told = json.loads(contract.to_json())["condition_columns"]
    assert [column.get("parts") for column in told] == [None, None, None, None, ["month", "trend", "day"]]
    plain = ConditionColumn(name="when", kind="timestamp", parts=("hour",))
    assert (plain.unit, number_entries([plain])) == (None, [])


REFUSED = {
    "a time without parts": ({"kind": "timestamp"}, "is a timestamp with the parts ; expected some of hour, weekday"),
    "a part that is none": ({"kind": "timestamp", "parts": ("hours",)}, "with the parts hours; expected some of hour"),
    "a part twice": ({"kind": "timestamp", "parts": ("day", "day")}, "with the parts day, day; expected .*, each once"),
    "a number of parts": ({"parts": ("hour",)}, "is a number with the parts hour; expected .* none for anything else"),
    "a time with a vocabulary": (
        {"kind": "timestamp", "parts": ("hour",), "vocabulary": (1,)},
        "expected at least one for a category, none for a number or a point in time",
    ),
    "a kind": ({"kind": "text"}, "condition column 'a' is of kind 'text'; expected one of number, string, integer"),
    "a number with a vocabulary": ({"vocabulary": ("x",)}, "is a number with a vocabulary of 1 values"),
    "a category without": ({"kind": "string"}, "is a string with a vocabulary of 0 values"),
    "an integer in texts": ({"kind": "string", "vocabulary": ("x", 1)}, "the value 1 in its vocabulary; expected str"),
    "true as an integer": ({"kind": "integer", "vocabulary": (True,)}, "the value True .*; expected int"),
    "a large integer": ({"kind": "integer", "vocabulary": (2**63,)}, "expected a 64-bit integer"),
    "a value twice": ({"kind": "integer", "vocabulary": (1, 1)}, "repeats values"),
    "the name of the rest": ({"kind": "string", "vocabulary": ("<other>",)}, "'<other>' in its vocabulary; that names"),
    "a category with an offset": (
        {"kind": "string", "vocabulary": ("x",), "offset": 1.0},
        "is a string with the offset 1.0; expected a finite one, of numbers alone",
    ),
    "no offset at all": ({"offset": float("nan")}, "with the offset nan; expected a finite one"),
    "no name": ({"name": ""}, "column name '' is not a name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    changes, message = REFUSED[case]
    with pytest.raises(ContractError, match=message):
        ConditionColumn(**{"name": "a"} | changes)


REFUSED_JSON = {
    "a text for a list": (lambda c: c[1] | {"vocabulary": "north"}, r"condition_columns\[1\].vocabulary is 'north'"),
    "a text for a truth": (lambda c: c[1] | {"nullable": "yes"}, r"condition_columns\[1\].nullable is 'yes'"),
    "an unknown key": (lambda c: c[1] | {"extra": 1}, r"condition_columns\[1\] has an unknown key 'extra'"),
    "another vocabulary": (lambda c: c[1] | {"vocabulary": ["x"]}, "conditional_columns is c0, region=north.*expected"),
    "a repeated column": (lambda c: c[0] | {"name": "c0"}, "column 'c0' is named 2 times"),
}


@pytest.mark.parametrize("case", REFUSED_JSON)
def test_refuses_in_json(case):
    change, message = REFUSED_JSON[case]
    data = json.loads(contract_with_categories().to_json())
    data["condition_columns"][1] = change(data["condition_columns"])
    with pytest.raises(ContractError, match=message):
        Contract.from_json(json.dumps(data))


def test_a_raw_column_is_no_event_column():
    columns = (dataclasses.replace(COLUMNS[1], name="y0"),)
    with pytest.raises(ContractError, match="column 'y0' is named 2 times"):
        make_contract(conditional_columns=encoded_columns(columns), condition_columns=columns)
