"""The states of a model's versions, as a table to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving_config.client.table_call import open_client

if TYPE_CHECKING:
    from serving_config.client.options import CallOptions


def format_status(options: CallOptions) -> str:
    """Asks the server and returns the table, newest version first."""
    with open_client(options) as client:
        statuses = client.model_status()
    lines = [f"{options.model_spec} at {options.server}", "version  state      error"]
    for each in statuses:
        told = "" if each.error_code == "OK" else f"{each.error_code}: {each.error_message}"
        lines.append(f"{each.version:>7}  {each.state:<9}  {told}".rstrip())
    return "\n".join(lines)
