"""What a real server answered, for all who speak with one."""

import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def recordings():
    """What a real tensorflow_model_server 2.19.1 answered; `golden/README.md` says to what."""
    return [json.loads(line) for line in (GOLDEN / "recordings.jsonl").read_text(encoding="utf-8").splitlines()]
