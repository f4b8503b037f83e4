"""The pages that the toolkit writes: one HTML file each, which loads nothing and runs nothing.

Everything is built as elements and escaped by the serializer of the standard library when it is printed. All pages have
the same parts, and one style sheet (`page_style.py`):

    make_page(title, header(...), [section(...), ...], footer)

`page_numbers.py` writes their numbers, `page_plots.py` draws, `calibration.py` judges and says so in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from maf_serving.page_style import STYLE

if TYPE_CHECKING:
    from maf_serving.calibration import Finding

Element = ET.Element
MARKS = {"good": "✓", "fair": "!", "bad": "✗", "note": "·"}


def element(tag: str, *children: Element | str | None, **attributes: object) -> Element:
    """An element with children and text in that order; `None` is left out.

    An underscore in an attribute's name is a hyphen, and one at its end keeps it off Python's own words: `class_`.
    """
    made = ET.Element(tag, {name.rstrip("_").replace("_", "-"): _text(value) for name, value in attributes.items()})
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


def make_page(title: str, header: Element, sections: Iterable[Element | None], footer: str) -> str:
    """The text of a page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", STYLE),
    )
    body = element("body", header, element("main", *sections), element("footer", footer))
    return to_html(element("html", head, body, lang="en"))


def to_html(root: Element) -> str:
    """The text of a page with this root."""
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def header(
    kind: str, title: str, origin: str, *, findings: Sequence[Finding] = (), tiles: Sequence[Element] = ()
) -> Element:
    """The top of a page: which kind of page it is, what it is of, what was looked at, the verdict, the figures."""
    return element(
        "header",
        element("p", kind, class_="kind"),
        element("h1", title),
        element("p", origin, class_="soft"),
        verdict(findings) if findings else None,
        element("div", *tiles, class_="tiles"),
    )


def verdict(findings: Sequence[Finding]) -> Element:
    """What was found, in words."""
    items = [
        element(
            "li",
            element("span", MARKS[each.kind], class_="mark", aria_hidden="true"),
            element("span", element("b", each.claim), f" {each.ground}"),
            class_=each.kind,
        )
        for each in findings
    ]
    return element("section", element("h2", "In short"), element("ul", *items), class_="card verdict")


def section(title: str, *children: Element | str | None) -> Element:
    """A part of the page; text in it is explanation."""
    parts = (element("p", child, class_="soft") if isinstance(child, str) else child for child in children)
    return element("section", element("h2", title), *parts)


def tile(figure: str, name: str, detail: str, *, kind: str = "") -> Element:
    """A figure that matters; `kind` colours it as a finding of that kind."""
    return element(
        "div", element("b", figure, class_=kind), element("span", name), detail, class_="tile"
    )  # fmt: skip


def grid(*children: Element | None, halves: bool | None = None) -> Element:
    """Cards side by side where there is room; in `halves` where three in a row would be too narrow or leave a gap."""
    shown = [child for child in children if child is not None]
    halves = len(shown) in {2, 4} if halves is None else halves
    return element("div", *shown, class_="grid halves" if halves else "grid")


def after(part: Element) -> Element:
    """A part below another, at the distance of cards."""
    return element("div", part, class_="after")


def card(*children: Element | str | None) -> Element:
    """A box below others."""
    return element("div", *children, class_="card after")


def note(words: str) -> Element:
    """Small print below a table."""
    return element("p", words, class_="note")


def figure(title: str, *children: Element | str | None, wide: str = "") -> Element:
    """A card with its title above; `wide` as a class for one that takes a whole row."""
    caption = element("figcaption", element("h3", title), *(child for child in children if isinstance(child, str)))
    rest = [child for child in children if not isinstance(child, str)]
    return element("figure", caption, *rest, class_=wide)


def key(*entries: tuple[str, str]) -> Element:
    """Which colour is what: pairs of a class of `page_style.py` (`model`, `data`, `dot`, `soft`) and words."""
    return element("div", *(element("span", words, class_=kind) for kind, words in entries), class_="key")


def table(label: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Element:
    """A table that scrolls within the page where it is wider; the first cell of a row names it."""
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in header)))
    body = element(
        "tbody",
        *(
            element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
            for row in rows
        ),
    )
    return element("div", element("table", head, body), class_="scroll", tabindex=0, role="group", aria_label=label)


def facts(values: Mapping[str, str]) -> Element:
    """Names and what they are."""
    return element(
        "dl", *(part for name, value in values.items() for part in (element("dt", name), element("dd", value)))
    )


def short(name: str, most: int) -> str:
    """A name, cut if it is longer than `most` characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names with commas; of many the first, and how many more."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def density_of(event: Sequence[str], condition: Sequence[str]) -> str:
    """`p(price, volume | season)`; how many columns where their names are too long."""
    return f"p({_names(event)}{f' | {_names(condition)}' if condition else ''})"


def _names(names: Sequence[str], most: int = 40) -> str:
    text = ", ".join(names)
    return text if len(text) <= most else f"{len(names)} columns" if len(names) > 1 else short(text, most)


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
