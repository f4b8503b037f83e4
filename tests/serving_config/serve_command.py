"""`python -m serving_config.serve` in processes of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "serving_config.serve"]
ROOT = Path(__file__).parents[2]


def environment(**changes):
    clean = {name: value for name, value in os.environ.items() if name != "TENSORFLOW_MODEL_SERVER"}
    return clean | {"PYTHONPATH": str(ROOT)} | changes


def run(*arguments, **changes):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=120, env=environment(**changes), check=False
    )


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
