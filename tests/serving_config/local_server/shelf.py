"""A base directory of versions that compute nothing, and questions to a manager of them."""

from __future__ import annotations

from types import SimpleNamespace

from maf_serving.codes import Code
from serving_config.local_server import RequestError
from serving_config.local_server.model_config import ModelConfig


class Shelf:
    """A base directory, a loader that fails for the versions in `broken`, and what has been closed."""

    def __init__(self, path):
        self.path = path
        self.broken: set[int] = set()
        self.closed: list[int] = []
        self.loads: list[int] = []

    def add(self, *versions):
        for version in versions:
            (self.path / str(version)).mkdir(parents=True)

    def load(self, model, version, path):
        self.loads.append(version)
        if version in self.broken:
            raise RequestError(Code.DATA_LOSS, "broken")
        return SimpleNamespace(model=model, version=version, close=lambda: self.closed.append(version))

    def config(self, **options):
        return ModelConfig(name="m", base_path=str(self.path), **options)


def states(manager):
    return {version: status.state for version, status in manager.statuses("m")}


def used(manager, **request):
    with manager.servable("m", **request) as servable:
        return servable.version
