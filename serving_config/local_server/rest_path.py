"""Paths of the REST API."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from typing import Any

from serving_config.local_server.errors import RequestError, invalid_argument

_API = re.compile(r"(?i)/v1/.*", re.DOTALL)
_VERSION = r"(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_POST = re.compile(rf"(?i)/v1/models/([^/:]+){_VERSION}:(classify|regress|predict)", re.ASCII)
_GET = re.compile(rf"(?i)/v1/models(?:/([^/:]+))?{_VERSION}(?:/(metadata))?", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """What a request is for.

    Attributes:
      verb: `predict`, `regress`, `classify`, `status` or `metadata`.
      model: the model's name.
      version: its version, if the path has one.
      label: its label, if the path has one.
    """

    verb: str
    model: str
    version: int | None = None
    label: str | None = None

    def fill(self, spec: Any) -> None:
        """Puts model, version and label into a `ModelSpec`."""
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version
        if self.label is not None:
            spec.version_label = self.label


def is_api(path: str) -> bool:
    """Whether a path is one of the API's at all; any other is simply not found."""
    return _API.fullmatch(path) is not None


def parse_target(method: str, path: str) -> Target:
    """What method and path ask for.

    Raises:
      RequestError: if the API has no such thing.
    """
    match = {"POST": _POST, "GET": _GET}[method].fullmatch(path) if method in ("POST", "GET") else None
    if match is None:
        raise _malformed(method, path)
    model, version, label, verb = match.groups(default="")
    if version and int(version[:30]) >= 2**63:
        raise invalid_argument(f"Failed to convert version: {version} to numeric.")
    if not model:
        raise invalid_argument("Missing model name in request.")
    return Target(
        verb=verb.lower() or "status",
        model=_decoded(model),
        version=int(version) if version else None,
        label=_decoded(label) if label else None,
    )


def _decoded(part: str) -> str:
    return urllib.parse.unquote(part)


def _malformed(method: str, path: str) -> RequestError:
    return invalid_argument(f"Malformed request: {method} {path}")
