from __future__ import annotations

import dataclasses
import json

import pytest

from maf_serving.errors import ContractError
from maf_serving.strict_json import parse_dataclass
from maf_serving.training_profile import ColumnProfile, NllProfile, Quantiles, TrainingProfile

AGES = Quantiles(values=(18.0, 40.0, 99.0), cumulative=(0.01, 0.6, 1.0))
CONSTANT = Quantiles(values=(5.0,), cumulative=(1.0,))
NUMBER = ColumnProfile(name="age", rows=100, nulls=3, mean=42.0, stddev=12.5, quantiles=AGES)
TEXT = ColumnProfile(name="region", kind="string", rows=100, categories=("n", "s"), shares=(0.5, 0.25), others=0.25)
CODES = ColumnProfile(name="code", kind="integer", rows=100, categories=(7, 3), shares=(0.75, 0.25))
PROFILE = TrainingProfile(
    event=(dataclasses.replace(NUMBER, name="price", nulls=0),),
    condition=(NUMBER, TEXT, CODES, dataclasses.replace(NUMBER, name="same", quantiles=CONSTANT)),
    nll=NllProfile(rows=20, mean=1.5, stddev=0.25, quantiles=AGES),
)


@pytest.mark.parametrize("profile", [PROFILE, TrainingProfile(event=PROFILE.event)])
def test_is_read_back_from_json(profile):
    text = json.dumps(profile.to_data())
    assert parse_dataclass(TrainingProfile, text, "profile", error=ContractError) == profile


def test_quantiles_between_and_at_the_ends():
    assert [AGES.at(level) for level in (0, 0.01, 0.5, 0.6, 0.61, 1)] == [18, 18, 40, 40, 99, 99]
    assert (CONSTANT.minimum, CONSTANT.at(0.5), CONSTANT.maximum) == (5, 5, 5)
    assert NUMBER.null_share == 0.03


REFUSED = {
    "another number of shares": (lambda: Quantiles(values=(1.0,), cumulative=()), "1 values and 0 shares"),
    "no values": (lambda: Quantiles(values=(), cumulative=()), "at least one"),
    "values that fall": (lambda: Quantiles(values=(2.0, 1.0), cumulative=(0.5, 1.0)), "do not ascend"),
    "a value twice": (lambda: Quantiles(values=(1.0, 1.0), cumulative=(0.5, 1.0)), "do not ascend"),
    "an infinite value": (lambda: Quantiles(values=(1.0, float("inf")), cumulative=(0.5, 1.0)), "do not ascend"),
    "shares short of 1": (lambda: Quantiles(values=(1.0, 2.0), cumulative=(0.5, 0.9)), "shares up to 0.9"),
    "more nulls than rows": (lambda: dataclasses.replace(NUMBER, nulls=101), "101 nulls in 100 rows"),
    "a number without quantiles": (lambda: dataclasses.replace(NUMBER, quantiles=None), "no quantiles"),
    "a category with a mean": (lambda: dataclasses.replace(TEXT, mean=1.0), "mean 1.0"),
    "a category without any": (lambda: dataclasses.replace(TEXT, categories=(), shares=()), "0 categories"),
    "a number with categories": (
        lambda: dataclasses.replace(NUMBER, categories=("n",), shares=(1.0,)),
        "a number, has 1 categories",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    make, message = REFUSED[case]
    with pytest.raises(ContractError, match=message):
        make()
