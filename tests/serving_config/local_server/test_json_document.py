"""Large documents, which are read bite by bite: the same values and the same errors as small ones."""

from __future__ import annotations

import json
import random

import pytest

from serving_config.local_server import RequestError, json_parser
from serving_config.local_server.json_parser import ExactParser, parse_document


@pytest.fixture(params=[7, 40, 2**16])
def bite(request, monkeypatch):
    """Sizes of a bite that cut documents in all kinds of places."""
    monkeypatch.setattr(json_parser, "_BITE", request.param)


def values(rng, depth):
    """Anything that JSON can say."""
    if depth and rng.random() < 0.6:
        members = [values(rng, depth - 1) for _ in range(rng.randrange(6))]
        return members if rng.random() < 0.6 else {f"k{number}],": each for number, each in enumerate(members)}
    return rng.choice([0, -1, 12345, 0.5, -1e-7, 1e300, True, False, None, "", "a],b", '}, {"', "\\", "ü", [], {}])


def spaced(rng, text):
    return "".join(mark + rng.choice(["", " ", "\n"]) if mark in "{}" else mark for mark in text)


def test_any_document_has_the_values_that_the_exact_parser_finds(bite):
    rng = random.Random(3)  # noqa: S311
    for _ in range(400):
        text = json.dumps(values(rng, 5), indent=rng.choice([None, 1]), ensure_ascii=rng.random() < 0.5)
        text = text.replace("-1e-07", rng.choice(["NaN", "-Infinity", "-1e-07"])) if "NaN" not in text else text
        assert repr(parse_document(text.encode())) == repr(ExactParser(text).document())


def test_rows_and_columns(bite):
    rows = [{"x": [number, number / 3], "conditional_input": [-number]} for number in range(200)]
    for document in ({"instances": rows}, {"inputs": {"x": [row["x"] for row in rows], "seed": list(range(500))}}):
        assert parse_document(json.dumps(document).encode()) == document


def test_of_two_equal_keys_the_first_counts(bite):
    assert parse_document(b'{"a": 1, "b": [{"c": 1, "c": 2}], "a": 3' + b" " * 99 + b"}") == {"a": 1, "b": [{"c": 1}]}


@pytest.mark.parametrize(
    "broken",
    [
        '{"a": [[1, 2], [3 4]]}',
        '{"a": [1, 2,]}',
        '{"a": [1, 2]} x',
        '{"a": [1, 2]',
        '{"a" 1}',
        '{1: 2}',
        "[1, 1e400]",
        "[1, tru]",
        "[" + "1" * 400 + "]",
        '["\\ud800"]',
        '["a]',
        "[,1]",
    ],
)  # fmt: skip
def test_what_is_broken_is_told_in_the_words_of_the_exact_parser(bite, broken):
    padded = broken.replace(" ", " " * 30)
    with pytest.raises(RequestError) as exact:
        ExactParser(padded).document()
    with pytest.raises(RequestError) as told:
        parse_document(padded.encode())
    assert told.value.message == exact.value.message


def test_a_long_number_that_overflows_is_found_wherever_it_lies(bite):
    for before in range(0, 600, 37):
        with pytest.raises(RequestError, match="Number too big"):
            parse_document(b"[" + b" " * before + b"9" * 350 + b".0]")
