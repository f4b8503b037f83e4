"""The states of a model's versions, as a server reports them."""

from __future__ import annotations

import dataclasses

STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
AVAILABLE = "AVAILABLE"
OK = "OK"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatus:
    """State of one version.

    Attributes:
      version: its number.
      state: one of `STATES`; requests are answered in `AVAILABLE` alone. `END` with an error is a load that failed.
      error_code: name of the error, `OK` for none.
      error_message: the server's words, or empty.
    """

    version: int
    state: str
    error_code: str = OK
    error_message: str = ""
