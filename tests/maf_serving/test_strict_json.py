from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from maf_serving.errors import JobError, UsageError
from maf_serving.strict_json import parse_dataclass, read_value, required_kind


class ShapeError(UsageError):
    pass


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    length: float

    def __post_init__(self) -> None:
        if self.length < 0:
            raise UsageError(f"length is {self.length}; expected 0 or more")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    sides: tuple[Side, ...]
    kind: Literal["open", "closed"] = "closed"
    weight: float | None = None
    extra: Side | None = None
    tags: tuple[str, ...] | tuple[int, ...] = ()
    span: tuple[float | None, float | None] = (None, None)
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    anything: Any = None
    whole: bool = False


def parse(text: str) -> Shape:
    return parse_dataclass(Shape, text, "shape", error=ShapeError)


def test_every_kind_of_field():
    read = parse(
        '{"sides": [{"length": 1}, {"length": 2.5}], "kind": "open", "weight": 3, "extra": {"length": 0}, '
        '"tags": [1, 2], "span": [null, 4.0], "counts": {"a": 1}, "anything": [{}], "whole": true}'
    )
    assert read == Shape(
        sides=(Side(length=1), Side(length=2.5)),
        kind="open",
        weight=3,
        extra=Side(length=0),
        tags=(1, 2),
        span=(None, 4.0),
        counts={"a": 1},
        anything=[{}],
        whole=True,
    )


def test_what_is_left_out_has_its_default():
    assert parse('{"sides": []}') == Shape(sides=())


REFUSED = {
    "{": "the shape is not JSON",
    "[" * 100_000: "the shape is not JSON",
    "[]": r"shape is \[\]; expected dict",
    "{}": "shape lacks the key 'sides'",
    '{"sides": [], "color": 1}': "shape has an unknown key 'color'; known keys: sides, kind",
    '{"sides": {}}': "shape.sides is {}; expected list",
    '{"sides": [{"length": "1"}]}': r"shape.sides\[0\].length is '1'; expected float",
    '{"sides": [{"length": true}]}': r"shape.sides\[0\].length is True; expected float",
    '{"sides": [{"length": -1}]}': r"shape.sides\[0\]: length is -1; expected 0 or more",
    '{"sides": [], "kind": "round"}': "shape.kind is 'round'; expected one of open, closed",
    '{"sides": [], "kind": []}': r"shape.kind is \[\]; expected one of",
    '{"sides": [], "weight": "1"}': "shape.weight is '1'; expected float",
    '{"sides": [], "extra": {}}': "shape.extra lacks the key 'length'",
    '{"sides": [], "tags": ["a", 1]}': r"shape.tags is \['a', 1\]; expected",
    '{"sides": [], "span": [1]}': "shape.span has 1 values; expected 2",
    '{"sides": [], "counts": {"a": 1.5}}': "shape.counts.a is 1.5; expected int",
    '{"sides": [], "whole": 1}': "shape.whole is 1; expected bool",
    '{"sides": null}': "shape.sides is None; expected list",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refuses(text):
    with pytest.raises(ShapeError, match=REFUSED[text]):
        parse(text)


def test_a_reader_of_ones_own():
    @dataclasses.dataclass(frozen=True)
    class Place:
        path: Path

    Place.__annotations__["path"] = Path
    read = read_value(Place, {"path": "a"}, "place", error=JobError, readers={Path: lambda v, _: Path("root") / v})
    assert read == Place(Path("root/a"))


def test_required_kind():
    assert required_kind(int | None) is int
    assert required_kind(tuple[int, ...]) == tuple[int, ...]
