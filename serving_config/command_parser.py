"""Parsers of commands whose errors are one line, like every other error of the serving tools."""

from __future__ import annotations

import argparse
from typing import NoReturn

from serving_config.errors import UsageError


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that takes no abbreviated flags, and raises `UsageError` instead of leaving the process."""

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raises `UsageError`, in place of argparse's two lines and exit."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def names(text: str) -> tuple[str, ...]:
    """A comma-separated list of names."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def integers(text: str) -> tuple[int, ...]:
    """A comma-separated list of integers."""
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of integers; expected such as 1,64") from None
