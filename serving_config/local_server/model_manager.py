"""The models of a server: which are configured, which of their versions answer, what they are called.

`version_lifecycle.py` loads and retires the versions. Nothing here knows of sockets.

While the server runs it looks for new versions, and for a changed `models.config`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maf_serving.codes import Code
from maf_serving.errors import MafServingError
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.model_config import (
    LoadPolicy,
    ModelConfig,
    ServableStatus,
    parse_model_configs,
    read_model_configs,
)
from serving_config.local_server.version_lifecycle import Loader, ManagedModel, Serving, VersionLifecycle

if TYPE_CHECKING:
    from serving_config.local_server.servable import Servable


_MOST = 2**63 - 1


class ModelManager:
    """The models of a server; all methods may be called from any thread."""

    def __init__(self, load: Loader, *, policy: LoadPolicy | None = None, log: Callable[[str], None]) -> None:
        """Serves nothing yet.

        Args:
          load: makes a servable of a model's name, a version and its directory, or raises `RequestError`.
          policy: retries and labels.
          log: takes one line about each version that comes, goes or fails.
        """
        self._policy = policy or LoadPolicy()
        self._log = log
        self._changed = threading.Condition()  # guards the models
        self._models: dict[str, ManagedModel] = {}
        self._lifecycle = VersionLifecycle(load, policy=self._policy, changed=self._changed, log=log)
        self._configuring = threading.Lock()

    def reload(self, config: Any, *, timeout: float | None) -> None:
        """Serves the models of a `ModelServerConfig` message and no others. Raises as `configure`."""
        self.configure(parse_model_configs(config), timeout=timeout)

    def configure(self, configs: Sequence[ModelConfig], *, timeout: float | None = None) -> None:
        """Serves these models and no others, waits until each new one answers, then moves the labels.

        A model without versions is waited for, and keeps every later call waiting, as in the real server.

        Raises:
          RequestError: if the new versions of a model fail; if a label names a version that is not available; or if
            `timeout` seconds are over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._configuring.acquire(timeout=-1 if timeout is None else timeout):
            raise _too_late("an earlier configuration is still waiting for its models")
        try:
            with self._changed:
                new = [config.name for config in configs if self._config(config.name) is None]
                for name, model in self._models.items():
                    if name not in {config.name for config in configs}:
                        model.config, model.labels = None, {}
                for config in configs:
                    self._models.setdefault(config.name, ManagedModel(config)).config = config
            self.poll()
            self._await_available(new, deadline)
            self._assign_labels(configs)
        finally:
            self._configuring.release()

    def poll(self) -> None:
        """Looks at the base directories, and starts what has to be done."""
        with self._changed:
            configs = {name: model.config for name, model in self._models.items()}
        for name, config in configs.items():
            complaint = ""
            try:
                found = found_versions(config.base_path) if config is not None else {}
            except OSError as error:
                complaint = f"cannot list the versions of {name}: {error}; those that are loaded stay"
            with self._changed:
                model = self._models[name]
                if model.config is config and not complaint:
                    model.see(found)
                    self._lifecycle.advance(name, model)
                if config is not None and not complaint and not model.wanted:
                    complaint = (
                        f"no version of {name} to serve is under base path {config.base_path}; waiting for one, a "
                        "directory with a number for its name"
                    )
                told, model.complaint = model.complaint, complaint
            if complaint and complaint != told:
                self._log(complaint)

    @contextlib.contextmanager
    def servable(self, model: str, *, version: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """A version for one request; it is not freed before the block ends. Without version and label, the newest.

        Raises:
          RequestError: NOT_FOUND for a model or version that does not answer, INVALID_ARGUMENT for an unknown label.
        """
        serving = self._acquire(model, version, label)
        try:
            yield serving.servable
        finally:
            with self._changed:
                serving.requests -= 1
                if not serving.requests:
                    self._changed.notify_all()

    def statuses(self, model: str, version: int | None = None) -> list[tuple[int, ServableStatus]]:
        """Versions and their statuses, newest first.

        Raises:
          RequestError: NOT_FOUND if there are none.
        """
        with self._changed:
            known = dict(self._models[model].statuses) if model in self._models else {}
        if not known:
            raise RequestError(Code.NOT_FOUND, f"Could not find any versions of model {model}")
        if version is None:
            return sorted(known.items(), reverse=True)
        if version not in known:
            raise RequestError(Code.NOT_FOUND, f"Could not find version {version} of model {model}")
        return [(version, known[version])]

    def available(self) -> dict[str, list[int]]:
        """The versions that answer, by model."""
        with self._changed:
            return {name: sorted(model.serving) for name, model in self._models.items() if model.config is not None}

    def stop_waiting(self) -> None:
        """Ends every wait for a model, as the first step of stopping."""
        self._lifecycle.stopping.set()
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        """Retires everything; returns when no request is left and every session is freed."""
        self.stop_waiting()
        with self._changed:
            for name, model in self._models.items():
                model.config = None
                model.see({})
                self._lifecycle.advance(name, model)
        self._lifecycle.join()

    def _config(self, name: str) -> ModelConfig | None:
        return self._models[name].config if name in self._models else None

    def _acquire(self, name: str, version: int | None, label: str | None) -> Serving:
        with self._changed:
            model = self._models.get(name)
            if label is not None:
                if model is None or label not in model.labels:
                    raise invalid_argument(f"Unrecognized servable version label: {label}")
                version = model.labels[label]
            serving = model.serving if model is not None else {}
            chosen = max(serving, default=None) if version is None else version
            if chosen is None or chosen not in serving:
                asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise RequestError(Code.NOT_FOUND, f"Servable not found for request: {asked}")
            serving[chosen].requests += 1
            return serving[chosen]

    def _await_available(self, names: Sequence[str], deadline: float | None) -> None:
        with self._changed:
            settled = self._changed.wait_for(
                lambda: self._lifecycle.stopping.is_set() or all(self._models[name].settled() for name in names),
                None if deadline is None else max(deadline - time.monotonic(), 0.0),
            )
            if not settled:
                raise _too_late("the new models are not available yet")
            failed = [name for name in names if not self._models[name].serving]
            if failed:
                reasons = ", ".join(f"{name}: {self._models[name].failures()}" for name in failed)
                raise RequestError(Code.UNKNOWN, f"Some models did not become available: {{{reasons}}}")

    def _assign_labels(self, configs: Sequence[ModelConfig]) -> None:
        with self._changed:
            for config in configs:
                model = self._models[config.name]
                for label, version in config.labels.items():
                    early = self._policy.early_labels and model.labels.get(label, version) == version
                    if not early and version not in model.serving:
                        raise RequestError(
                            Code.FAILED_PRECONDITION,
                            f"Request to assign label to version {version} of model {config.name}, which is not "
                            "currently available for inference",
                        )
            for config in configs:
                self._models[config.name].labels = dict(config.labels)


def _too_late(what: str) -> RequestError:
    return RequestError(Code.DEADLINE_EXCEEDED, f"the time of this request is over: {what}")


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


def found_versions(base_path: str) -> dict[int, Path]:
    """Directories whose names are numbers, by number; `001` is version 1. Everything else is passed over.

    Raises:
      OSError: if the base directory cannot be listed.
    """
    found: dict[int, Path] = {}
    for path in sorted(Path(base_path).iterdir()):
        if path.name.isascii() and path.name.isdigit() and int(path.name) <= _MOST and path.is_dir():
            found[int(path.name)] = path
    return found
