"""Bytes that are not UTF-8 as characters for private use, and back: Arrow's CSV reader fails on a ragged row of them.

The byte 0xNN becomes U+F7NN. Characters from U+F780 to U+F7FF that were there before become their three bytes, each
escaped, so that nothing is lost or mistaken.
"""

from __future__ import annotations

import re

_MARKED = re.compile(rb"\xef\x9e|\xef\x9f")  # how U+F780 to U+F7FF begin
_PRIVATE = re.compile("[\uf780-\uf7ff]")
# Python decodes the byte 0xNN that is not UTF-8 as U+DCNN.
_ESCAPED = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)}
_RESTORED = {private: surrogate for surrogate, private in _ESCAPED.items()}


def escape(data: bytes) -> bytes:
    """Valid UTF-8; the same bytes if they are that already and hold nothing that `restore` would take for escaped."""
    if not _MARKED.search(data) and _is_utf8(data):
        return data
    text = data.decode("utf-8", "surrogateescape")
    text = _PRIVATE.sub(lambda found: found.group().encode().decode("ascii", "surrogateescape"), text)
    return text.translate(_ESCAPED).encode()


def restore(data: bytes) -> bytes:
    """What `escape` was given."""
    if not _MARKED.search(data):
        return data
    return data.decode().translate(_RESTORED).encode("utf-8", "surrogateescape")


def is_marked(data: memoryview) -> bool:
    """Whether there is anything to restore."""
    return _MARKED.search(data) is not None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
