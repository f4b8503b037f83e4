"""Checks of the values in a configuration, each naming the option."""

from __future__ import annotations

import dataclasses
from typing import Any

from maf.errors import ConfigError


def at_least(config: Any, **least: int) -> None:
    """Raises `ConfigError` for an option below its least value; one that is `None` is automatic."""
    for name, minimum in least.items():
        if getattr(config, name) is not None and getattr(config, name) < minimum:
            raise ConfigError(f"{name} is {getattr(config, name)}; expected at least {minimum}")


def positive(config: Any, *names: str) -> None:
    """Raises `ConfigError` for one of these options that is not above 0."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ConfigError(f"{name} is {getattr(config, name)}; expected more than 0")


def one_of_choices(config: Any) -> None:
    """Raises `ConfigError` for an option that is none of its choices."""
    for field in dataclasses.fields(config):
        choices = field.metadata.get("choices")
        if choices and getattr(config, field.name) not in choices:
            raise ConfigError(f"{field.name} is {getattr(config, field.name)!r}; expected one of {', '.join(choices)}")
