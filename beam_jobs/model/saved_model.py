"""The exported model that a job uses: found, matched with the input's columns, and run by workers.

TensorFlow reads few of Beam's file systems, so a worker copies a version at a URL to its own machine before it loads.
The model runs as a `ModelHandler` of Beam's `RunInference`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import posixpath
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from beam_jobs.errors import JobError, UsageError
from beam_jobs.options.job_options import JobOptions, RowOptions, is_elsewhere
from beam_jobs.storage import check_store, list_files, read_file, reported_as
from export.contract import CONTRACT_PATH, Contract, ContractError, find_version, is_version, read_contract
from maf_serving.condition_range import ranges_for
from maf_serving.model_inputs import ModelInputs, ModelRows, count_bytes, encode_rows, model_inputs, renamed_columns
from maf_serving.quiet_tensorflow import LEVEL_VARIABLE, quietly
from maf_serving.saved_model import LoadedModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from apache_beam.utils.shared import Shared

_SAVED_MODEL = "saved_model.pb"
_CHUNK_BYTES = 16 << 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelLocation:
    """An exported version.

    Attributes:
      path: its directory, absolute, or its URL.
      files: of a URL, the sizes of its files in bytes when the job was planned, by path within the version.
    """

    path: str
    files: Mapping[str, int] | None = None

    @classmethod
    def at(cls, path: str) -> ModelLocation:
        """The version in that directory or at that URL, as it is now. Raises `UsageError` if a URL cannot be listed."""
        if not is_elsewhere(path):
            return cls(path=str(Path(path).absolute()))
        path = path.rstrip("/")
        check_store(f"model {path}", path)
        with reported_as(f"model {path} cannot be read"):
            files = list_files(f"{path}/**")
        return cls(path=path, files={name.removeprefix(f"{path}/"): size for name, size in files.items()})

    @property
    def version(self) -> str:
        """The name of the directory."""
        return posixpath.basename(Path(self.path).as_posix())

    @contextlib.contextmanager
    def local_copy(self) -> Iterator[str]:
        """A directory of this machine that holds the version while the block runs.

        Raises:
          JobError: a file has another size than when the job was planned, or is gone.
        """
        if self.files is None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="model-") as directory:
            for name, size in self.files.items():
                _download(f"{self.path}/{name}", Path(directory) / name, size)
            yield directory


def find_model_location(model: str) -> tuple[ModelLocation, Contract]:
    """The version that `--model` means, itself or the newest in it, and its contract.

    Raises:
      ContractError: there is none on this machine, or its contract cannot be read.
      UsageError: there is none at the URL.
    """
    if not is_elsewhere(model):
        version_dir = find_version(model)
        return ModelLocation.at(str(version_dir)), read_contract(version_dir)
    base = model.rstrip("/")
    check_store(f"--model {model}", base)
    with reported_as(f"--model {model} cannot be read"):
        location = ModelLocation.at(_find_remote_version(base))
        if CONTRACT_PATH not in (location.files or ()):
            raise UsageError(
                f"--model {model}: {location.path} has no {CONTRACT_PATH}; "
                "expected a version written by `maf-serving export`"
            )
        return location, Contract.from_json(read_file(f"{location.path}/{CONTRACT_PATH}").decode())


def _find_remote_version(base: str) -> str:
    if list_files(f"{base}/{_SAVED_MODEL}"):
        return base
    found = [posixpath.basename(posixpath.dirname(path)) for path in list_files(f"{base}/*/{_SAVED_MODEL}")]
    versions = sorted((name for name in found if is_version(name)), key=int)
    if not versions:
        raise UsageError(
            f"--model {base} holds no {_SAVED_MODEL} and no version; expected a version, or versions 1, 2, ... in it"
        )
    return f"{base}/{versions[-1]}"


def _download(url: str, path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileSystems.open(url, compression_type=CompressionTypes.UNCOMPRESSED) as stream, path.open("wb") as file:
        shutil.copyfileobj(stream, file, _CHUNK_BYTES)
    if path.stat().st_size != size:
        raise JobError(
            f"{url} has {path.stat().st_size} bytes; it had {size} when the job was planned: was the version replaced?"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """What `plan_model` found.

    Attributes:
      location: the model version to use.
      contract: its contract.
      signature_name: the signature to run.
      inputs: the input columns that its inputs are made of.
      event_columns: the input's names of its event columns, whether or not they are read.
    """

    location: ModelLocation
    contract: Contract
    signature_name: str
    inputs: ModelInputs
    event_columns: tuple[str, ...]


def plan_model(options: JobOptions, *, signature_name: str) -> PlannedModel:
    """The model that the options name. Raises as `match_model`, or if it knows no ranges and they ask for them."""
    model = match_model(
        options.model,
        signature_name=signature_name,
        event_columns=options.event_columns,
        conditional_columns=options.conditional_columns,
        rename=options.rename,
    )
    asked = options.on_out_of_range if isinstance(options, RowOptions) else "count"
    ranges = ranges_for(model.inputs.ranges, asked, model=f"version {model.location.version} of {options.model}")
    return dataclasses.replace(model, inputs=dataclasses.replace(model.inputs, ranges=ranges))


def match_model(
    model: str,
    *,
    signature_name: str,
    event_columns: tuple[str, ...],
    conditional_columns: tuple[str, ...],
    rename: tuple[tuple[str, str], ...] = (),
) -> PlannedModel:
    """Finds the version and reads its contract. Raises `UsageError` if there is none, or it lacks the signature."""
    try:
        location, contract = find_model_location(model)
        if rename:
            event_columns, conditional_columns = renamed_columns(contract, rename)
        inputs = model_inputs(
            contract, signature_name, event_columns=event_columns, conditional_columns=conditional_columns
        )
    except ContractError as error:
        raise UsageError(str(error)) from error
    return PlannedModel(
        location=location,
        contract=contract,
        signature_name=signature_name,
        inputs=inputs,
        event_columns=event_columns or contract.event_columns,
    )


class SavedModelHandler(ModelHandler):  # type: ignore[misc]  # Beam is untyped here
    """Runs one signature on `ModelRows`, each of them a batch already; before it `encode_condition`, on raw conditions.

    For `RunInference`. A result is a `PredictionResult` of the rows, the signature's outputs by name (numpy,
    `[B, ...]`) and the model's path. Beam's own handlers for TensorFlow load Keras models, which a SavedModel is not
    to Keras 3 (apache/beam #30616).

    TensorFlow is imported by the worker that loads the model.
    """

    def __init__(
        self,
        model: str | ModelLocation,
        *,
        signature_name: str,
        threads: int | None = None,
        shared: Shared | None = None,
    ) -> None:
        """See the class.

        Args:
          model: a version directory, or its URL on any of Beam's file systems.
          signature_name: which of its signatures to run.
          threads: threads of TensorFlow in a worker process, or `None` for TensorFlow's own choice.
          shared: by which several steps of a pipeline use one loaded model; `None` for one of this step alone.

        Raises:
          UsageError: the URL cannot be listed.
        """
        super().__init__()
        self._model = model if isinstance(model, ModelLocation) else ModelLocation.at(model)
        self._signature_name = signature_name
        self._threads = threads
        self._shared = shared

    def load_model(self) -> LoadedModel:
        """Loads the SavedModel; called once in each worker process, whose threads share it.

        A remote one is copied to this machine first, and the copy deleted: its variables are in memory by then.
        """
        if self._shared is None:
            return self._load()
        model: LoadedModel = self._shared.acquire(self._load)
        return model

    def _load(self) -> LoadedModel:
        # A pipeline of the user's own has its own log.
        quiet = quietly() if LEVEL_VARIABLE in os.environ else contextlib.nullcontext()
        with quiet, self._model.local_copy() as directory:
            return LoadedModel.load(directory, threads=self._threads)

    def run_inference(
        self, batch: ModelRows, model: LoadedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """One call of the signature, and one that encodes a raw condition."""
        batch = encode_rows(batch, model.run)
        outputs = model.run(self._signature_name, batch.inputs, **(inference_args or {}))
        return [PredictionResult(batch, outputs, self._model.path)]

    def should_skip_batching(self) -> bool:
        """Elements are batches: collecting them into lists would copy every row."""
        return True

    def get_num_bytes(self, batch: ModelRows) -> int:
        """Bytes that go into the model; Beam would pickle the batch to find out."""
        return count_bytes(batch)

    def get_metrics_namespace(self) -> str:
        """Namespace of the metrics of `RunInference`."""
        return f"SavedModel/{self._model.version}/{self._signature_name}"
