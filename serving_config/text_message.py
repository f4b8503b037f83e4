"""Reads files of one message in protobuf's text format, which is how TensorFlow Serving is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving_config.errors import UsageError


def read_text_message(path: str | Path, message: Any) -> Any:
    """Fills `message` from the file at `path`, and returns it.

    Raises:
      UsageError: the file cannot be read or does not parse.
    """
    name = message.DESCRIPTOR.name
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}; expected a {name} in protobuf's text format") from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise UsageError(f"{path} is no {name} in protobuf's text format: {error}") from error
