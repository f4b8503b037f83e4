"""The commands in README and docs: those of code blocks, and those inside of sentences."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("maf-serving ", "python -m ")
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def in_blocks(page: Path) -> list[str]:
    """Lines of code blocks without a language, continued ones joined, comments and `&&` taken apart."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    printed = r"(test NLL|rows read)"  # what a command prints
    shown = [block for language, block in blocks if not language and not re.match(printed, block)]
    lines = [re.sub(r"\s+# .*", "", line) for block in shown for line in block.splitlines()]
    return [command.strip() for line in lines for command in line.split(" && ") if command.strip()]


def in_sentences(page: Path) -> list[str]:
    """What stands in backquotes and begins as a command of ours does."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text) if code.startswith(OURS)]


def words(command: str) -> list[str]:
    """As a shell splits it."""
    return shlex.split(command)
