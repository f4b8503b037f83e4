"""Brings versions up and takes them down, each in a thread of its own, while requests go on.

    found on disk -> START -> LOADING -> AVAILABLE -> UNLOADING -> END        wanted, loaded, unwanted, idle, freed
                                 |  ^
                                 |  +-- tried again after retry_seconds
                                 +----> END, with the error                   retries are over, or nobody wants it now

`advance` is called whenever something has changed, and starts every step that `model_config.next_step` allows by then.
A step runs in its thread without the lock, takes the lock to note how it ended, and calls `advance` again. So the order
follows from the states alone: a new version answers before an old one goes.

A version that goes takes no new request, as it is no longer in `serving`. Its thread waits until the requests that use
it are done, and then frees its session.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

from serving_config.local_server.errors import RequestError
from serving_config.local_server.model_config import (
    LoadPolicy,
    ModelConfig,
    ServableStatus,
    State,
    VersionStep,
    next_step,
)
from serving_config.local_server.servable import Servable

Loader = Callable[[str, int, Path], Servable]


class VersionLifecycle:
    """What happens to versions; `changed` guards the models, and is notified of whatever happens.

    Attributes:
      stopping: once set, nothing is waited for any more.
    """

    def __init__(
        self, load: Loader, *, policy: LoadPolicy, changed: threading.Condition, log: Callable[[str], None]
    ) -> None:
        self._load = load
        self._policy = policy
        self._changed = changed
        self._log = log
        self._threads: set[threading.Thread] = set()
        self._loading = threading.Semaphore(policy.at_once)
        self.stopping = threading.Event()

    def advance(self, name: str, model: ManagedModel) -> None:
        """Starts every step that can be taken now. The lock is held."""
        while (step := model.next_step()) is not None:
            if step.kind == "load":
                model.statuses[step.version] = ServableStatus(State.START)
                model.released.discard(step.version)
                self._start(self._bring_up, name, model, step.version, model.found[step.version])
            else:
                model.statuses[step.version] = ServableStatus(State.UNLOADING)
                self._start(self._take_down, name, model, step.version, model.serving.pop(step.version))
        self._changed.notify_all()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        def run() -> None:
            try:
                work(*arguments)
            finally:
                with self._changed:
                    self._threads.discard(thread)
                    self._changed.notify_all()

        thread = threading.Thread(target=run, name=work.__name__.strip("_"), daemon=True)
        self._threads.add(thread)
        thread.start()

    def _bring_up(self, name: str, model: ManagedModel, version: int, path: Path) -> None:
        self._set_status(model, version, ServableStatus(State.LOADING))
        for attempt in range(self._policy.retries + 1):
            try:
                with self._loading:
                    servable = self._load(name, version, path)
            except RequestError as error:
                failure = error
                with self._changed:
                    model.failed.add(version)
                    model.statuses[version] = ServableStatus(State.LOADING, error.code, error.message)
                    self._changed.notify_all()
            else:
                with self._changed:
                    model.failed.discard(version)
                    model.statuses[version] = ServableStatus(State.AVAILABLE)
                    model.serving[version] = Serving(servable)
                    self.advance(name, model)
                self._log(f"version {version} of {name} is available")
                return
            again = attempt < self._policy.retries
            wait = f"; trying again in {self._policy.retry_seconds:g} s" if again else "; it is not served"
            self._log(f"version {version} of {name} does not load: {failure}{wait}")
            if not again or not self._wait_to_retry(model, version):
                break
        with self._changed:
            model.statuses[version] = ServableStatus(State.END, failure.code, failure.message)
            if version not in model.wanted:
                model.released.add(version)
            self.advance(name, model)

    def _wait_to_retry(self, model: ManagedModel, version: int) -> bool:
        """False if the version is no longer wanted."""
        with self._changed:
            return not self._changed.wait_for(
                lambda: self.stopping.is_set() or version not in model.wanted, self._policy.retry_seconds
            )

    def _take_down(self, name: str, model: ManagedModel, version: int, serving: Serving) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not serving.requests)
        serving.servable.close()
        with self._changed:
            model.statuses[version] = ServableStatus(State.END)
            if version not in model.wanted:
                model.released.add(version)
            self.advance(name, model)
        if not self.stopping.is_set():
            self._log(f"version {version} of {name} is retired")

    def join(self) -> None:
        """Returns when every step that was started is done."""
        while True:
            with self._changed:
                threads = list(self._threads)
            if not threads:
                return
            for thread in threads:
                thread.join()

    def _set_status(self, model: ManagedModel, version: int, status: ServableStatus) -> None:
        with self._changed:
            model.statuses[version] = status
            self._changed.notify_all()


@dataclasses.dataclass(slots=True)
class Serving:
    """A version that answers, and how many requests are using it."""

    servable: Servable
    requests: int = 0


@dataclasses.dataclass(slots=True)
class ManagedModel:
    """One model, guarded by the manager's lock.

    Attributes:
      config: `None` once the model has left the configuration; its versions are then on their way out.
      found: the version directories last seen.
      wanted: the versions that should be served.
      statuses: every version since the server started, as `GetModelStatus` shows them.
      serving: the versions that take requests.
      failed: versions that did not load, at least once; they may be tried again.
      released: ended versions that were unwanted meanwhile; they are loaded again when they are wanted again.
      labels: what clients may call a version.
      complaint: what was last said about its base directory, so that it is said once.
    """

    config: ModelConfig | None
    found: dict[int, Path] = dataclasses.field(default_factory=dict)
    wanted: frozenset[int] = frozenset()
    statuses: dict[int, ServableStatus] = dataclasses.field(default_factory=dict)
    serving: dict[int, Serving] = dataclasses.field(default_factory=dict)
    failed: set[int] = dataclasses.field(default_factory=set)
    released: set[int] = dataclasses.field(default_factory=set)
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    complaint: str = ""

    def see(self, found: dict[int, Path]) -> None:
        """Takes note of the version directories that are there now."""
        self.found = found
        self.wanted = frozenset(self.config.policy.loaded(found)) if self.config is not None else frozenset()
        ended = {version for version, status in self.statuses.items() if status.state is State.END}
        self.released |= ended - self.wanted

    def next_step(self) -> VersionStep | None:
        """What to do next for this model."""
        known = {v: status.state for v, status in self.statuses.items() if v not in self.released}
        return next_step(self.wanted, known)

    def settled(self) -> bool:
        """Whether there are wanted versions, and each of them answers or has failed."""
        return bool(self.wanted) and all(version in self.serving or version in self.failed for version in self.wanted)

    def failures(self) -> str:
        """Why no version answers."""
        told = [f"version {version}: {status.message}" for version, status in sorted(self.statuses.items())]
        base_path = self.config.base_path if self.config is not None else ""
        return "; ".join(told) or f"no version of it under base path {base_path}"
