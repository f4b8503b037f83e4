"""Looks for new versions, and for a changed `models.config`, while the server runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from maf_serving.errors import MafServingError
from serving_config.local_server.model_config import ModelConfig, read_model_configs

if TYPE_CHECKING:
    from serving_config.local_server.model_manager import ModelManager


class ModelPolling:
    """Two timers that stop together."""

    def __init__(self, manager: ModelManager, *, log: Callable[[str], None]) -> None:
        self._manager = manager
        self._log = log
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def poll_versions(self, seconds: float) -> None:
        """Starts looking at the base directories; 0 or less does not look again."""
        self._every(seconds, self._manager.poll)

    def poll_config(self, path: str, seconds: float, *, applied: tuple[ModelConfig, ...]) -> None:
        """Starts reading `path` again; what differs from `applied`, or failed the last time, is applied."""
        known: list[tuple[ModelConfig, ...] | None] = [applied]

        def reread() -> None:
            try:
                configs = read_model_configs(path)
                if configs != known[0]:
                    known[0] = None
                    self._manager.configure(configs)
                    known[0] = configs
                    self._log(f"{path} is applied")
            except MafServingError as error:
                self._log(f"{path} is not applied: {error}")

        self._every(seconds, reread)

    def stop(self) -> None:
        """Returns when nothing is looked at any more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        def run() -> None:
            while not self._stopping.wait(seconds):
                work()

        if seconds > 0:
            thread = threading.Thread(target=run, name="poll", daemon=True)
            self._threads.append(thread)
            thread.start()
