"""Fixtures of the local server's tests: models on disk, servers that stop after the test."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving_config.local_server.model_config import LoadPolicy, ModelConfig
from serving_config.local_server.model_manager import ModelManager
from tests.serving_config.local_server.shelf import Shelf
from tests.serving_config.local_server.support import Running, running, write_model


@pytest.fixture(scope="session")
def saved_versions(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Odd versions have offset 1, even ones 2."""
    paths = {offset: tmp_path_factory.mktemp("saved") / str(offset) for offset in (1, 2)}
    for offset, path in paths.items():
        write_model(path, float(offset))
    return paths


@pytest.fixture(scope="session")
def publish(saved_versions: dict[int, Path]) -> Callable[[Path, int], None]:
    """Puts a version into a base directory by renaming it, as an exporter does."""

    def publish(base: Path, version: int) -> None:
        staged = base / f"tmp-{version}"
        shutil.copytree(saved_versions[2 - version % 2], staged)
        staged.rename(base / str(version))

    return publish


@pytest.fixture
def base(tmp_path: Path, publish: Callable[[Path, int], None]) -> Path:
    """A base directory with version 1 of the small model."""
    path = tmp_path / "models" / "small"
    path.mkdir(parents=True)
    publish(path, 1)
    return path


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts servers on free ports; they are stopped after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *models, **options: stack.enter_context(running(*models, **options))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, publish: Callable[[Path, int], None]) -> Iterator[Running]:
    """A server of versions 1 and 2 of the small model, for tests that change nothing."""
    path = tmp_path_factory.mktemp("models") / "small"
    path.mkdir()
    publish(path, 1)
    publish(path, 2)
    with running(
        ModelConfig(name="small", base_path=str(path)), metrics_path="/metrics", grpc_health_checks=True
    ) as run:
        yield run


@pytest.fixture
def shelf(tmp_path):
    shelf = Shelf(tmp_path / "m")
    shelf.add(1)
    return shelf


@pytest.fixture
def manage(shelf):
    managers = []

    def manage(*configs, **policy):
        manager = ModelManager(shelf.load, policy=LoadPolicy(**({"retries": 0} | policy)), log=lambda _line: None)
        managers.append(manager)
        manager.configure(configs or [shelf.config()])
        return manager

    yield manage
    for manager in managers:
        manager.stop()
