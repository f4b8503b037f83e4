"""Reads the JSON of a request as TF Serving's parser does: RapidJSON with NaN and Infinity, words and offsets too.

Python's own parser, in C, reads what it and the real server's agree on. The exact parser takes the rest: errors, whose
text and offset clients are told, and the few things that only one of the two accepts. A call into C keeps every other
thread of the process waiting until it returns, so a large document is taken in small bites.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from serving_config.local_server.errors import invalid_argument

DEEPEST = 500  # nested lists and objects; the real parser has no limit but its stack
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_PLAIN_TEXT = re.compile(r'[^"\\\x00-\x1f]*')
_WORDS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": math.nan,
    "Infinity": math.inf,
    "Inf": math.inf,
}
_WORD = re.compile(r"true|false|null|-?NaN|-?Infinity|-?Inf")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_BITE = 2**16  # characters that are read at once: some milliseconds
_OVERLAP = 2**8  # longer than what is searched for
_OUTER_LEVELS = 3  # {"inputs": {"x": [ has three; what is inside of them is small
_OUTLINE = bytes.maketrans(b"E123456789", b"e000000000")
_HUGE_EXPONENT = re.compile(rb"e\+?000")
_HUGE_NUMBER = b"0" * 200
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SPACE = re.compile(r"[ \t\n\r]*")


def first_of_equal(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of two equal keys the first counts."""
    members = dict(pairs)
    return members if len(members) == len(pairs) else dict(reversed(pairs))


class ExactParser:
    """One run over one text. It keeps its own stack, so that no document is too deep for Python's."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def document(self) -> Any:
        """The value in the text. Raises `RequestError`, with the real parser's words."""
        self._skip_space()
        if self._at == len(self._text):
            self._fail("The document is empty.")
        value = self._value()
        self._skip_space()
        if self._at < len(self._text):
            self._fail("The document root must not be followed by other values.")
        return value

    def _value(self) -> Any:
        open_lists: list[list[Any]] = []  # members of an object are pairs
        keys: list[str | None] = []  # None: a list
        while True:
            opened = self._peek()
            if opened in ("{", "["):
                if len(keys) == DEEPEST:
                    self._fail(f"Nested deeper than {DEEPEST} levels.")
                self._at += 1
                self._skip_space()
                if self._peek() != ("}" if opened == "{" else "]"):
                    open_lists.append([])
                    keys.append(self._key() if opened == "{" else None)
                    continue
                self._at += 1
                value: Any = {} if opened == "{" else []
            else:
                value = self._scalar()
            while keys:
                key, members = keys[-1], open_lists[-1]
                members.append(value if key is None else (key, value))
                if self._goes_on(key):
                    break
                keys.pop()
                open_lists.pop()
                value = members if key is None else first_of_equal(members)
            else:
                return value
            if keys[-1] is not None:
                keys[-1] = self._key()

    def _goes_on(self, key: str | None) -> bool:
        """Whether a comma comes, after a member or an element; if not, the end is passed."""
        self._skip_space()
        mark = self._peek()
        if mark == ",":
            self._at += 1
            self._skip_space()
            return True
        if mark != ("]" if key is None else "}"):
            self._fail(
                "Missing a comma or ']' after an array element."
                if key is None
                else "Missing a comma or '}' after an object member."
            )
        self._at += 1
        return False

    def _key(self) -> str:
        if self._peek() != '"':
            self._fail("Missing a name for object member.")
        key = self._string()
        self._skip_space()
        if self._peek() != ":":
            self._fail("Missing a colon after a name of object member.")
        self._at += 1
        self._skip_space()
        return key

    def _scalar(self) -> Any:
        if self._peek() == '"':
            return self._string()
        word = _WORD.match(self._text, self._at)
        if word is not None:
            self._at = word.end()
            value = _WORDS[word[0].removeprefix("-")]
            return -value if word[0].startswith("-") else value
        number = _NUMBER.match(self._text, self._at)
        if number is None:
            self._fail("Invalid value.")
        start, self._at = self._at, number.end()
        rest = self._peek()
        if rest == "." and number[1] is None and number[2] is None:
            self._at += 1
            self._fail("Miss fraction part in number.")
        if rest in ("e", "E") and number[2] is None:
            self._at += 1
            self._fail("Miss exponent in number.")
        if number[1] is None and number[2] is None and len(number[0]) <= 20:
            return int(number[0])
        value = float(number[0])
        if math.isinf(value):
            self._at = start
            self._fail("Number too big to be stored in double.")
        return value

    def _string(self) -> str:
        start = self._at
        self._at += 1
        parts = []
        while True:
            plain = _PLAIN_TEXT.match(self._text, self._at)
            if plain is not None:
                parts.append(plain[0])
                self._at = plain.end()
            mark = self._peek()
            if mark == '"':
                self._at += 1
                return "".join(parts)
            if mark == "\\":
                parts.append(self._escape())
            elif mark:
                self._fail("Invalid encoding in string.")
            else:
                self._at = start
                self._fail("Missing a closing quotation mark in string.")

    def _escape(self) -> str:
        start = self._at
        letter = self._text[start + 1 : start + 2]
        if letter in _ESCAPES and letter:
            self._at += 2
            return _ESCAPES[letter]
        if letter != "u":
            self._fail("Invalid escape character in string.")
        unit = self._unit(start)
        if not 0xD800 <= unit <= 0xDFFF:
            return chr(unit)
        if unit > 0xDBFF or self._text[self._at : self._at + 2] != "\\u":
            self._at = start
            self._fail("The surrogate pair in string is invalid.")
        low = self._unit(start)
        if not 0xDC00 <= low <= 0xDFFF:
            self._at = start
            self._fail("The surrogate pair in string is invalid.")
        return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))

    def _unit(self, start: int) -> int:
        digits = _HEX.match(self._text, self._at + 2)
        if digits is None:
            self._at = start
            self._fail("Incorrect hex digit after \\u escape in string.")
        self._at = digits.end()
        return int(digits[0], 16)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip_space(self) -> None:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space is not None else self._at

    def _fail(self, reason: str) -> NoReturn:
        offset = len(self._text[: self._at].encode("utf-8", "surrogateescape"))
        raise invalid_argument(f"JSON Parse error: {reason} at offset: {offset}")


_DECODER = json.JSONDecoder(object_pairs_hook=first_of_equal)


def parse_document(body: bytes) -> Any:
    """The value in `body`. Of two equal keys the first counts.

    Bytes that are no UTF-8 become surrogates, as `os.fsdecode` makes them.

    Raises:
      RequestError: with the real parser's words.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if not _differs(body):
        try:
            return _DECODER.decode(text) if len(text) <= _BITE else _BiteByBite(text).document()
        except (ValueError, RecursionError):
            pass  # the exact parser says why, or knows better
    return ExactParser(text).document()


def _differs(body: bytes) -> bool:
    """Whether the two parsers may not agree: on numbers that overflow, and on pairs of surrogates."""
    for start in range(0, len(body), _BITE):
        bite = body[start : start + _BITE + _OVERLAP]
        outline = bite.translate(_OUTLINE)
        if _HUGE_NUMBER in outline or _HUGE_EXPONENT.search(outline) or _SURROGATE.search(bite):
            return True
    return False


class _BiteByBite:
    """Reads the outer lists and objects a few elements at a time, and those in C."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._alone = 0  # elements before this place are read one by one

    def document(self) -> Any:
        """The value in the text. Raises `ValueError` if it is none."""
        value = self._value(_OUTER_LEVELS)
        if self._mark():
            raise ValueError("something follows the value")
        return value

    def _value(self, outer_levels: int) -> Any:
        mark = self._mark()
        if outer_levels and mark == "[":
            return self._list(outer_levels - 1)
        if outer_levels and mark == "{":
            return self._object(outer_levels - 1)
        value, self._at = _DECODER.raw_decode(self._text, self._at)
        return value

    def _list(self, outer_levels: int) -> list[Any]:
        values: list[Any] = []
        while self._goes_on("]", first=not values):
            values += self._several() or [self._value(outer_levels)]
        return values

    def _several(self) -> list[Any]:
        """The elements of the next bite, read together; none if it cannot be told where one of them ends."""
        if self._at < self._alone:
            return []
        ends = {"[": "],", "{": "},"}.get(self._mark(), ",")
        end = self._text.rfind(ends, self._at, self._at + _BITE) + len(ends) - 1
        if end <= self._at:
            self._alone = self._at + _BITE
            return []
        try:
            values: list[Any] = _DECODER.decode(f"[{self._text[self._at : end]}]")
        except ValueError:  # it was the end of something inside of an element, or of the whole list
            self._alone = end
            return []
        self._at = end
        return values

    def _object(self, outer_levels: int) -> dict[str, Any]:
        pairs: list[tuple[str, Any]] = []
        while self._goes_on("}", first=not pairs):
            key = self._value(0)
            if not isinstance(key, str) or self._mark() != ":":
                raise ValueError("no key and colon")
            self._at += 1
            pairs.append((key, self._value(outer_levels)))
        return first_of_equal(pairs)

    def _goes_on(self, end: str, *, first: bool) -> bool:
        """Whether another element comes; passes the opening bracket or the comma before it, or the end."""
        if first:
            self._at += 1
        mark = self._mark()
        if mark == end:
            self._at += 1
            return False
        if not first:
            if mark != ",":
                raise ValueError("no comma")
            self._at += 1
        return True

    def _mark(self) -> str:
        """The next character that is no space."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space is not None else self._at
        return self._text[self._at : self._at + 1]
