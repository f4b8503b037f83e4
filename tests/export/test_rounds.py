"""A session is asked for many signatures at once, for the same ones in every round of a graph."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from export.signatures import Request
from export.verification.rounds import SessionSignature, rounds, signatures_of


def signature(*inputs, computed=()):
    return SessionSignature({name: f"{name}:0" for name in inputs}, {}, frozenset(computed))


SIGNATURES = {
    "log_prob": signature("x"),
    "serving_default": signature("x"),
    "columns": signature("x0", "x1", computed=["stack", "x"]),
    "draw": signature("seed"),
    "both": signature("x", "seed"),
}


def request(name, signature, rows=1, value=0.0):
    return Request(name, signature, {each: np.full(rows, value) for each in SIGNATURES[signature].inputs})


def names(*requests):
    return [[each.name for each in sent.requests] for sent in rounds(requests, SIGNATURES)]


def test_each_round_has_a_request_of_each_signature():
    assert names(request("a", "log_prob"), request("b", "draw")) == [["a", "b"]]


def test_whose_turns_are_over_is_sent_its_smallest_again():
    few, many = request("few", "draw", rows=3), request("many", "draw", rows=9)
    others = [request(name, "log_prob", rows=rows) for name, rows in (("a", 1), ("b", 2), ("c", 3))]
    assert names(many, few, *others) == [["many", "a"], ["few", "b"], ["c"]]
    sent = rounds([many, few, *others], SIGNATURES)
    assert [len(each.feeds["seed:0"]) for each in sent] == [9, 3, 3]
    assert {tuple(each.signatures) for each in sent} == {("draw", "log_prob")}


def test_requests_that_are_fed_the_same_are_one():
    assert names(request("a", "log_prob"), request("b", "serving_default")) == [["a", "b"]]
    assert names(request("a", "log_prob"), request("b", "serving_default", value=1.0)) == [["a"], ["b"]]
    assert names(request("a", "log_prob", value=np.nan), request("b", "serving_default", value=np.nan)) == [["a", "b"]]
    assert names(request("a", "log_prob"), request("b", "log_prob")) == [["a"], ["b"]]  # each is a call


def test_texts_are_compared_by_what_they_are():
    same, other = (Request(name, "log_prob", {"x": np.array([text.encode()], object)}) for name, text in ("as", "bt"))
    again = Request("c", "serving_default", {"x": np.array([b"".join([b"s"])], object)})
    assert names(same, other, again) == [["a", "c"], ["b"]]


def test_a_signature_is_not_asked_beside_one_that_is_fed_what_it_computes():
    columns, vectors = request("a", "columns"), request("b", "log_prob")
    assert names(columns, vectors) == names(vectors, columns)[::-1] == [["a"], ["b"]]
    assert names(columns, request("b", "draw")) == [["a", "b"]]


def test_signatures_that_are_fed_some_of_the_same_take_turns():
    assert names(request("a", "log_prob"), request("b", "draw"), request("c", "both")) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("requests", [[], [request("a", "draw")]])
def test_as_few_rounds_as_there_are_requests(requests):
    assert len(names(*requests)) == len(requests)


def test_what_a_signature_computes_ends_where_it_is_fed(exported):
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(exported.version_dir))
        found = signatures_of(graph, loaded.signature_def)
    assert found["inverse"].fed == found["log_prob"].fed
    assert found["log_prob"].computed <= found["inverse"].computed
    assert found["log_prob"].computed.isdisjoint(found["log_prob"].fed)
    assert found["log_prob"].goes_with(found["inverse"])
    assert found["log_prob_columns"].computed > found["log_prob"].computed | found["log_prob"].fed
    assert not found["log_prob_columns"].goes_with(found["log_prob"])
