"""Options of a configuration: fields that the command line is made from, and what their values must be."""

from __future__ import annotations

import dataclasses
from typing import Any

from maf.errors import ConfigError


def option(default: Any, help_text: str, choices: tuple[str, ...] | None = None, metavar: str | None = None) -> Any:
    """A dataclass field with what the command line says about it."""
    return dataclasses.field(default=default, metadata={"help": help_text, "choices": choices, "metavar": metavar})


def at_least(config: Any, **least: int) -> None:
    """Raises `ConfigError` for an option below its least value; one that is `None` is automatic."""
    for name, minimum in least.items():
        if getattr(config, name) is not None and getattr(config, name) < minimum:
            raise ConfigError(f"{name} is {getattr(config, name)}; expected at least {minimum}")


def positive(config: Any, *names: str) -> None:
    """Raises `ConfigError` for one of these options that is not above 0; one that is `None` is automatic."""
    for name in names:
        if getattr(config, name) is not None and not getattr(config, name) > 0:
            raise ConfigError(f"{name} is {getattr(config, name)}; expected more than 0")


def shares(config: Any, *names: str) -> None:
    """Raises `ConfigError` for one of these options that is no share of a whole; one that is `None` is automatic."""
    for name in names:
        if not 0 <= (getattr(config, name) or 0) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}; expected a share from 0 to below 1")


def one_of_choices(config: Any) -> None:
    """Raises `ConfigError` for an option that is none of its choices."""
    for field in dataclasses.fields(config):
        choices = field.metadata.get("choices")
        if choices and getattr(config, field.name) not in choices:
            raise ConfigError(f"{field.name} is {getattr(config, field.name)!r}; expected one of {', '.join(choices)}")
