"""The pages that the toolkit writes: one HTML file each, which loads nothing and runs nothing.

Everything is built as elements and escaped by the serializer of the standard library when it is printed. All pages have
the same parts, and one style sheet (`STYLE`):

    make_page(title, header(...), [section(...), ...], footer)

`page_numbers.py` writes their numbers, `page_plots.py` draws, `calibration.py` judges and says so in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from maf_serving.calibration import Finding

Element = ET.Element
MARKS = {"good": "✓", "fair": "!", "bad": "✗", "note": "·"}
_LIGHT = """color-scheme: light; --ink: #1a2029; --soft: #565f6d; --line: #dfe3e9; --paper: #f5f6f8; --card: #ffffff;
  --model: #2459c9; --data: #c3cad4; --dots: #20262f; --code: #eef1f6; --good: #187a3c; --fair: #8a5a00;
  --bad: #b3261e;"""
_DARK = """color-scheme: dark; --ink: #e8ebf0; --soft: #a4adba; --line: #333b47; --paper: #0f1319; --card: #181d25;
  --model: #7fb0ff; --data: #47515f; --dots: #f1f3f6; --code: #10151c; --good: #5fce86; --fair: #f0b849;
  --bad: #ff8a80;"""
STYLE = (
    f"""
:root {{ {_LIGHT} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
"""
    """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", sans-serif; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.2rem; } footer { padding-top: 1.5rem; padding-bottom: 2.5rem; }
h1 { font-size: clamp(1.5rem, 4.5vw, 2.1rem); line-height: 1.2; letter-spacing: -.015em; margin: 0 0 .4rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; letter-spacing: -.01em; margin: 2.6rem 0 .35rem; }
h3 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .2rem 0 1rem; max-width: 46rem; } .soft, footer { color: var(--soft); }
p, li { overflow-wrap: anywhere; }
.kind { font-size: .82rem; letter-spacing: .04em; margin: 0 0 .2rem; color: var(--model); font-weight: 600; }
.verdict { margin-top: 1.1rem; } .verdict h2 { margin: 0 0 .35rem; font-size: 1.05rem; }
.verdict ul { list-style: none; margin: 0; padding: 0; display: grid; gap: .4rem; }
.verdict li { display: grid; grid-template-columns: 1.35rem 1fr; gap: .5rem; align-items: baseline; max-width: 60rem; }
.mark { color: var(--card); background: var(--soft); border-radius: 50%; width: 1.3rem; height: 1.3rem;
  font: 700 .8rem/1.3rem system-ui, sans-serif; text-align: center; }
.verdict li.note { font-size: inherit; color: inherit; margin: 0; }
.verdict .good .mark { background: var(--good); } .verdict .fair .mark { background: var(--fair); }
.verdict .bad .mark { background: var(--bad); }
.tiles { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(10.5rem, 100%), 1fr));
  margin-top: .8rem; }
.tile, figure, .card { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; }
.tile { padding: .85rem 1rem; font-size: .88rem; color: var(--soft); line-height: 1.4; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.25; color: var(--ink); letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.tile b.good { color: var(--good); } .tile b.fair { color: var(--fair); } .tile b.bad { color: var(--bad); }
.tile span { display: block; color: var(--ink); font-weight: 600; }
.grid { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
  align-items: stretch; }
.grid.halves { grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
figure, .card { margin: 0; padding: .9rem 1rem; min-width: 0; }
figure { display: flex; flex-direction: column; } figure svg { max-width: 30rem; margin: .6rem auto 0; }
.grid > figure > svg:last-child { margin-top: auto; padding-top: .6rem; }
figure.pairs svg { max-width: 42rem; }
figure.pairs svg text { font-size: calc(var(--side) * 1px * 11.5 / 340); }
@media (min-width: 45rem) { figure.pairs svg text { font-size: calc(var(--side) * 1px * 13 / 660); } }
@media (min-width: 60rem) { figure.pairs { flex-direction: row; gap: 2rem; }
  figure.pairs figcaption { flex: 0 0 17rem; } }
figcaption { font-size: .86rem; line-height: 1.45; color: var(--soft); overflow-wrap: anywhere; }
figcaption h3 { color: var(--ink); }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; margin: 0 0 .8rem; font-size: .88rem; color: var(--soft); }
.key span::before { content: ""; display: inline-block; width: .85em; height: .85em; border-radius: .2em;
  margin-right: .45em; vertical-align: -.08em; background: var(--data); }
.key .model::before { background: var(--model); } .key .dot::before { background: var(--dots); border-radius: 50%;
  width: .5em; height: .5em; vertical-align: .08em; } .key .soft::before { background: var(--soft); }
.after { margin-top: .8rem; }
.scroll { overflow-x: auto; } .note { font-size: .86rem; color: var(--soft); margin: .7rem 0 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; width: 100%;
  max-width: 60rem; }
th, td { padding: .38rem .9rem .38rem 0; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-size: .82rem; vertical-align: bottom; }
th:first-child { text-align: left; } tbody th { font-weight: 600; min-width: 5.5rem; overflow-wrap: break-word; }
tbody tr:last-child > * { border-bottom: 0; } td { white-space: nowrap; }
@media screen and (max-width: 34rem) { table { font-size: .8rem; } thead th { font-size: .76rem; }
  th, td { padding-right: .5rem; } tbody th { min-width: 4rem; } td { white-space: normal; } }
dl { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: .3rem 1.2rem; margin: .5rem 0 0;
  font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
pre { margin: .45rem 0 0; padding: .7rem .85rem; background: var(--code); border: 1px solid var(--line);
  border-radius: .5rem; white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; -webkit-user-select: all;
  font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .92em; }
ol.steps { list-style: none; margin: 0; padding: 0; display: grid; gap: .8rem; } ol.steps li { min-width: 0; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11.5px;
  font-family: inherit; font-variant-numeric: tabular-nums; } svg text.name { fill: var(--ink); }
svg text.strong { fill: var(--ink); font-weight: 650; }
svg text.over { paint-order: stroke; stroke: var(--card); stroke-width: 5px; stroke-linejoin: round; }
.axis { stroke: var(--soft); stroke-width: 1; } .rule { stroke: var(--line); stroke-width: 1; }
.guide { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 4 4; }
.curve { fill: none; stroke-width: 2.2; stroke-linejoin: round; } .curve.model { stroke: var(--model); }
.curve.soft { stroke: var(--soft); stroke-width: 1.6; }
.line-model, .bar-model { stroke: var(--model); stroke-width: 2; } .bar-other { stroke: var(--soft); stroke-width: 2; }
.bar-noise { stroke: var(--data); stroke-width: 9; }
.model-dot, .model-fill { fill: var(--model); } .other-dot { fill: var(--soft); }
rect.data, polygon.data { fill: var(--data); } .band { fill: var(--model); opacity: .2; }
.dots { stroke-linecap: round; stroke-width: 2.6; fill: none; } .data-dots { stroke: var(--dots); opacity: .62; }
.model-dots { stroke: var(--model); opacity: .7; } .cell { fill: none; stroke: var(--line); }
:focus-visible { outline: 2px solid var(--model); outline-offset: 2px; }
@media print { html { font-size: 75%; } body { background: #fff; font-size: 1rem; }
  .grid, .grid.halves { grid-template-columns: 1fr 1fr; } figure, .tile, .card, li { break-inside: avoid; }
  h2 { break-after: avoid; } header, main, footer { max-width: none; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
)


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
    """Which colour is what: pairs of a class of `page.py` (`model`, `data`, `dot`, `soft`) and words."""
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
