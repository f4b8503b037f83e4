"""What writes tables to a stream, in any format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class TableWriter(Protocol):
    """Appends tables to a stream that somebody else closes."""

    def write_table(self, table: pa.Table) -> None:
        """Appends the rows."""

    def close(self) -> None:
        """Writes what the format wants at the end."""
