"""Elements of HTML and SVG. Text and attributes are escaped by the serializer of the standard library."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

Element = ET.Element


def element(tag: str, *children: Element | str | None, **attributes: object) -> Element:
    """An element with children and text in that order; `None` is left out.

    An underscore in an attribute's name is a hyphen, and one at its end keeps it off Python's own words: `class_`.
    """
    made = ET.Element(tag, _names(attributes))
    last: Element | None = None
    for child in children:
        if isinstance(child, str) and last is None:
            made.text = (made.text or "") + child
        elif isinstance(child, str) and last is not None:
            last.tail = (last.tail or "") + child
        elif child is not None and not isinstance(child, str):
            made.append(child)
            last = child
    return made


def to_html(root: Element) -> str:
    """The text of a page."""
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _names(attributes: Mapping[str, object]) -> dict[str, str]:
    return {name.rstrip("_").replace("_", "-"): _text(value) for name, value in attributes.items()}


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
