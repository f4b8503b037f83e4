"""A session is asked for all signatures at once, and for the same ones every time."""

from __future__ import annotations

import numpy as np
import pytest

from export.signatures import Request
from export.verification.replay import rounds

TENSORS = {"log_prob": {"x:0"}, "serving_default": {"x:0"}, "draw": {"seed:0"}, "both": {"x:0", "seed:0"}}
TENSORS = {name: frozenset(tensors) for name, tensors in TENSORS.items()}


def request(name, signature, rows=1):
    return Request(name, signature, {"x": np.zeros(rows)})


def names(*requests):
    return [[each.name for each in sent] for sent in rounds(requests, TENSORS)]


def test_each_round_has_a_request_of_each_signature():
    assert names(request("a", "log_prob"), request("b", "draw")) == [["a", "b"]]


def test_a_signature_without_further_requests_sends_its_smallest_again():
    few, many = request("few", "draw", rows=3), request("many", "draw", rows=9)
    others = [request(name, "log_prob") for name in "abc"]
    assert names(many, few, *others) == [["many", "a"], ["few", "b"], ["few", "c"]]


def test_signatures_that_share_a_tensor_take_turns():
    assert names(request("a", "log_prob"), request("b", "serving_default")) == [["a"], ["b"]]
    assert names(request("a", "log_prob"), request("b", "draw"), request("c", "both")) == [["a"], ["b"], ["c"]]


def test_a_signature_that_nobody_knows_is_sent_too():
    assert names(request("a", "classify"), request("b", "draw")) == [["a", "b"]]


@pytest.mark.parametrize("requests", [[], [request("a", "draw")]])
def test_as_few_rounds_as_there_are_requests(requests):
    assert len(names(*requests)) == len(requests)
