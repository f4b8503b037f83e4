"""Where the configuration of a server lies: a models.config, or the manifest of a ConfigMap that has it under a key."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from maf_serving.messages import message_text
from serving_config.configuration import yaml_text
from serving_config.errors import JobError, UsageError
from serving_config.server_files import MODELS_CONFIG, read_config


class ConfigFile:
    """A models.config, which the server reads itself.

    Attributes:
      path: of the file.
      applied_by: the command that brings a change to the server; none is needed.
    """

    applied_by: str | None = None

    def __init__(self, path: Path) -> None:
        """For the file at `path`, which is read and written by the methods."""
        self.path = path

    def read(self) -> Any:
        """The `ModelServerConfig`. Raises `UsageError` if there is none."""
        return read_config(self.path)

    def write(self, message: Any) -> None:
        """Replaces it. Raises `JobError`."""
        replace_file(self.path, message_text(message))


class ConfigMapManifest:
    """The manifest of a ConfigMap with a models.config; the cluster gives it to the pods once it is applied.

    Attributes:
      path: of the manifest.
      applied_by: the command that applies it.
    """

    def __init__(self, path: Path) -> None:
        """For the manifest at `path`, which is read and written by the methods."""
        self.path = path
        self.applied_by: str | None = f"kubectl apply -f {path}"

    def read(self) -> Any:
        """The `ModelServerConfig`. Raises `UsageError` if there is none."""
        _, config_map = self._documents()
        message = model_server_config_pb2.ModelServerConfig()
        try:
            return text_format.Parse(config_map["data"][MODELS_CONFIG], message)
        except text_format.ParseError as error:
            raise UsageError(f"{MODELS_CONFIG} in {self.path} is no ModelServerConfig: {error}") from error

    def write(self, message: Any) -> None:
        """Replaces it, and leaves every other key and document as it is. Raises `JobError` or `UsageError`."""
        documents, config_map = self._documents()
        config_map["data"][MODELS_CONFIG] = message_text(message)
        replace_file(self.path, yaml_text(*documents))

    def _documents(self) -> tuple[list[Any], Any]:
        """All documents of the file, and the one ConfigMap among them."""
        try:
            documents = list(yaml.safe_load_all(self.path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"cannot read {self.path}: {' '.join(str(error).split())}; expected a manifest") from error
        found = [document for document in documents if _has_models_config(document)]
        if len(found) != 1:
            raise UsageError(
                f"{self.path} has {len(found)} ConfigMaps with the key {MODELS_CONFIG}; expected one, as in "
                "kubernetes/config_map.yaml of the generated files"
            )
        return documents, found[0]


def replace_file(path: Path, text: str) -> None:
    """Puts a file with this text in the place of the one at `path`: readers see the old one or the new one, whole.

    Raises:
      JobError: the disk failed, or the directory cannot be written to.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with unfinished.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(path.stat().st_mode)
        unfinished.replace(path)
    except OSError as error:
        raise JobError(f"{path} cannot be replaced: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _has_models_config(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and document.get("kind") == "ConfigMap"
        and isinstance(document.get("data"), dict)
        and isinstance(document["data"].get(MODELS_CONFIG), str)
    )
