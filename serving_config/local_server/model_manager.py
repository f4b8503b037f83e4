"""Loads, serves and retires the versions of all models, while requests go on.

A new version answers before an old one goes; a version that goes takes no new request, finishes those it has, and then
frees its session. Nothing here knows of sockets.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from serving_config.local_server.base_path import found_versions
from serving_config.local_server.codes import Code
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.load_policy import LoadPolicy
from serving_config.local_server.model_config import ModelConfig
from serving_config.local_server.servable import Servable
from serving_config.local_server.served_model import ServedModel, Serving
from serving_config.local_server.versions import State, VersionStatus

Loader = Callable[[str, int, Path], Servable]


class ModelManager:
    """The models of a server; all methods may be called from any thread."""

    def __init__(self, load: Loader, *, policy: LoadPolicy | None = None, log: Callable[[str], None]) -> None:
        """Serves nothing yet.

        Args:
          load: makes a servable of a model's name, a version and its directory, or raises `RequestError`.
          policy: retries and labels.
          log: takes one line about each version that comes, goes or fails.
        """
        self._load = load
        self._policy = policy or LoadPolicy()
        self._log = log
        self._changed = threading.Condition()  # guards all that follows
        self._models: dict[str, ServedModel] = {}
        self._threads: set[threading.Thread] = set()
        self._stopping = threading.Event()
        self._loading = threading.Semaphore(self._policy.at_once)
        self._configuring = threading.Lock()

    def configure(self, configs: Sequence[ModelConfig]) -> None:
        """Serves these models and no others, waits until each new one answers, then moves the labels.

        Raises:
          RequestError: if a base path is not there, in which case nothing has changed; if a new model does not become
            available; or if a label names a version that is not available.
        """
        with self._configuring:
            for config in configs:
                if not Path(config.base_path).is_dir():
                    raise RequestError(
                        Code.NOT_FOUND,
                        f"Could not find base path {config.base_path} for servable {config.name}; nothing has changed",
                    )
            with self._changed:
                new = [config.name for config in configs if self._config(config.name) is None]
                for name, model in self._models.items():
                    if name not in {config.name for config in configs}:
                        model.config, model.labels = None, {}
                for config in configs:
                    self._models.setdefault(config.name, ServedModel(config)).config = config
            self.poll()
            self._await_available(new)
            self._assign_labels(configs)

    def poll(self) -> None:
        """Looks at the base directories, and starts what has to be done."""
        with self._changed:
            configs = {name: model.config for name, model in self._models.items()}
        for name, config in configs.items():
            try:
                found = found_versions(config.base_path) if config is not None else {}
            except OSError as error:
                self._log(f"cannot list the versions of {name}: {error}; those that are loaded stay")
                continue
            with self._changed:
                model = self._models[name]
                if model.config is config:
                    model.see(found)
                    self._advance(name, model)

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

    def statuses(self, model: str, version: int | None = None) -> list[tuple[int, VersionStatus]]:
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

    def stop(self) -> None:
        """Retires everything; returns when no request is left and every session is freed."""
        self._stopping.set()
        with self._changed:
            for name, model in self._models.items():
                model.config = None
                model.see({})
                self._advance(name, model)
        while True:
            with self._changed:
                threads = list(self._threads)
            if not threads:
                return
            for thread in threads:
                thread.join()

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

    def _advance(self, name: str, model: ServedModel) -> None:
        """Starts every step that can be taken now. The lock is held."""
        while (step := model.next_step()) is not None:
            if step.kind == "load":
                model.statuses[step.version] = VersionStatus(State.START)
                model.released.discard(step.version)
                self._start(self._bring_up, name, model, step.version, model.found[step.version])
            else:
                model.statuses[step.version] = VersionStatus(State.UNLOADING)
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

    def _bring_up(self, name: str, model: ServedModel, version: int, path: Path) -> None:
        self._set_status(model, version, VersionStatus(State.LOADING))
        for attempt in range(self._policy.retries + 1):
            try:
                with self._loading:
                    servable = self._load(name, version, path)
            except RequestError as error:
                failure = error
                with self._changed:
                    model.failed.add(version)
                    model.statuses[version] = VersionStatus(State.LOADING, error.code, error.message)
                    self._changed.notify_all()
            else:
                with self._changed:
                    model.failed.discard(version)
                    model.statuses[version] = VersionStatus(State.AVAILABLE)
                    model.serving[version] = Serving(servable)
                    self._advance(name, model)
                self._log(f"version {version} of {name} is available")
                return
            again = attempt < self._policy.retries
            wait = f"; trying again in {self._policy.retry_seconds:g} s" if again else "; it is not served"
            self._log(f"version {version} of {name} does not load: {failure}{wait}")
            if not again or not self._wait_to_retry(model, version):
                break
        with self._changed:
            model.statuses[version] = VersionStatus(State.END, failure.code, failure.message)
            if version not in model.wanted:
                model.released.add(version)
            self._advance(name, model)

    def _wait_to_retry(self, model: ServedModel, version: int) -> bool:
        """False if the version is no longer wanted."""
        with self._changed:
            return not self._changed.wait_for(
                lambda: self._stopping.is_set() or version not in model.wanted, self._policy.retry_seconds
            )

    def _take_down(self, name: str, model: ServedModel, version: int, serving: Serving) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not serving.requests)
        serving.servable.close()
        with self._changed:
            model.statuses[version] = VersionStatus(State.END)
            if version not in model.wanted:
                model.released.add(version)
            self._advance(name, model)
        if not self._stopping.is_set():
            self._log(f"version {version} of {name} is retired")

    def _set_status(self, model: ServedModel, version: int, status: VersionStatus) -> None:
        with self._changed:
            model.statuses[version] = status
            self._changed.notify_all()

    def _await_available(self, names: Sequence[str]) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping.is_set() or all(self._models[name].settled() for name in names)
            )
            failed = [name for name in names if not self._models[name].serving]
            if failed:
                raise RequestError(Code.UNKNOWN, f"Some models did not become available: {{{self._reasons(failed)}}}")

    def _reasons(self, names: Sequence[str]) -> str:
        reasons = []
        for name in names:
            model = self._models[name]
            ended = [f"version {v}: {s.message}" for v, s in sorted(model.statuses.items()) if s.message]
            base = model.config.base_path if model.config is not None else ""
            reasons.append(f"{name}: {'; '.join(ended) or f'no version of it under base path {base}'}")
        return ", ".join(reasons)

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
