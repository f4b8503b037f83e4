"""What published files are called."""

from __future__ import annotations

SUMMARY_NAME = "_summary.json"


def shard_names(prefix: str, count: int, extension: str) -> list[str]:
    """`<prefix>-00000-of-00003.parquet` and so on."""
    return [f"{prefix}-{index:05d}-of-{count:05d}.{extension}" for index in range(count)]
