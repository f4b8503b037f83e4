"""JSON Lines files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa


class JsonLinesWriter:
    """See `TableWriter`. One object a line; what JSON has no type for is text."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write_table(self, table: pa.Table) -> None:
        """See `TableWriter`."""
        lines = [json.dumps(row, default=_as_text, ensure_ascii=False) for row in table.to_pylist()]
        self._stream.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None:
        """A line is complete in itself."""


def _as_text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
