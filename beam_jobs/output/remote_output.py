"""An output at a URL: it is there when its `_summary.json` is.

    <output>.staging-<run>/     workers write here; a lease says whose it is (`lease.py`)
             | publish()
             v
    1. copy every file to       <output>/<name>-<run>...     nobody reads it yet: no summary lists it
    2. compare the sizes
    3. write                    <output>/_summary.json       one object, in place of the earlier one: the moment
    4. delete                   the files that the earlier summary listed, then the staging directory

Whoever reads the files that `_summary.json` lists sees the earlier output until step 3, and the new one from then on. A
worker that publishes may be killed anywhere, and run again: before step 3 it copies once more, after that it finds
its own run in the summary and deletes what is left. A job that is killed leaves its staging directory and files that no
summary lists; the next job with the same output deletes both, before it starts.
"""

from __future__ import annotations

import contextlib
import json
import logging
import posixpath
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import JobError, UsageError
from beam_jobs.output.lease import Lease, delete_leased
from beam_jobs.output.table_format import SUMMARY_NAME, TableFormat, shard_names
from beam_jobs.storage import check_store, delete_files, list_files, read_file, reported_as, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from beam_jobs.options.job_options import ExistingOutput

_LOGGER = logging.getLogger(__name__)
_RUN = re.compile(r"-([0-9a-f]{8})(-\d{5}-of-\d{5})?(\.[a-z]+)+$")
_COPIED_AT_ONCE = 16
_COPIERS = 8


class RemoteOutput:
    """See `StagedOutput`. For object stores, which rename no directory and lock nothing.

    It can be pickled, and published by a worker, several times if need be: until the staging directory is deleted,
    which comes last, each time does the same.
    """

    is_remote: ClassVar[bool] = True

    def __init__(self, output: str, *, existing: ExistingOutput) -> None:
        """Claims a staging directory. Raises `UsageError` if the output may not be written."""
        self._output = output.rstrip("/")
        self._existing = existing
        self._run = uuid.uuid4().hex[:8]
        self._directory = f"{self._output}.staging-{self._run}"
        self._moves: dict[str, str] = {}
        self._handed_over = False
        check_store(f"--output {output}", self._output)
        with reported_as(f"--output {output} cannot be written"):
            _check_existing(self._output, self._existing)
            self._lease = Lease(self._directory)
            try:
                self._delete_abandoned()
                _check_existing(self._output, self._existing)
            except BaseException:
                self.discard()
                raise

    @property
    def directory(self) -> str:
        """See `StagedOutput`."""
        return self._directory

    def take_text(self, name: str) -> str:
        """See `StagedOutput`."""
        return read_file(f"{self._directory}/{name}").decode()

    def add_text(self, name: str, text: str) -> str:
        """See `StagedOutput`."""
        path = f"{self._directory}/{name}"
        write_file(path, text.encode())
        stem, dot, extension = name.rpartition(".")
        self._moves[path] = f"{stem}-{self._run}{dot}{extension}"
        return self._moves[path]

    def name_shards(self, paths: Iterable[str], prefix: str, schema: pa.Schema, table_format: TableFormat) -> list[str]:
        """See `StagedOutput`."""
        shards = sorted(path for path in paths if posixpath.basename(path).startswith(f"{prefix}-"))
        if not shards:
            shards = [f"{self._directory}/{prefix}-empty.{table_format.extension}"]
            with FileSystems.create(shards[0], compression_type=CompressionTypes.UNCOMPRESSED) as stream:
                table_format.write_empty(stream, schema)
        names = shard_names(f"{prefix}-{self._run}", len(shards), table_format.extension)
        self._moves.update(zip(shards, names, strict=True))
        return names

    def keep_rejected(self, names: Iterable[str], summary: str) -> str:
        """See `StagedOutput`."""
        kept = set(names)
        target = f"{self._output}.rejected-{self._run}"
        if not list_files(f"{target}/{SUMMARY_NAME}"):
            _copy({path: f"{target}/{name}" for path, name in self._moves.items() if name in kept})
            write_file(f"{target}/{SUMMARY_NAME}", summary.encode())
        self.discard()
        return target

    def hand_over(self) -> None:
        """See `StagedOutput`."""
        self._lease.hand_over()
        self._handed_over = True

    def held(self) -> contextlib.AbstractContextManager[None]:
        """See `StagedOutput`."""
        return self._lease.held()

    def published(self) -> str | None:
        """See `StagedOutput`."""
        if not any(self._run in name for name in _listed_files(self._output)):
            return None
        return read_file(f"{self._output}/{SUMMARY_NAME}").decode()

    def publish(self, summary: str) -> None:
        """See `StagedOutput`."""
        moves = {path: f"{self._output}/{name}" for path, name in self._moves.items()}
        try:
            with reported_as("the result could not be moved to its place"):
                if (
                    self._handed_over and self.published() is not None
                ):  # the last time this was killed, or nobody heard of it
                    self.discard()
                    return
                _check_existing(self._output, self._existing)
                sizes = list_files(f"{self._directory}/**")
                _copy(moves)
                _check_copied(moves, sizes, list_files(f"{self._output}/*"))
                earlier = _listed_files(self._output)
                write_file(f"{self._output}/{SUMMARY_NAME}", summary.encode())
        except BaseException as error:
            if not self._handed_over:  # a runner may try again, or be trying twice at a time
                with contextlib.suppress(Exception):
                    delete_files([path for path in moves.values() if list_files(path)])
            if isinstance(error, UsageError):
                raise JobError(str(error)) from error
            raise
        try:
            delete_files([f"{self._output}/{name}" for name in earlier])
            self.discard()
        except Exception:  # the output is complete; the next job with it deletes what is left
            _LOGGER.warning("files of an earlier job could not be deleted", exc_info=True)

    def discard(self) -> None:
        """See `StagedOutput`."""
        self._lease.release()
        with contextlib.suppress(Exception):  # what is left is abandoned, and the next job deletes it
            delete_leased(self._directory)

    def _delete_abandoned(self) -> None:
        prefix = f"{self._output}.staging-"
        ours = re.compile(rf"({re.escape(prefix)}[0-9a-f]{{8}})/")
        matches = [ours.match(path) for path in list_files(f"{prefix}*/**")]
        found = {match[1] for match in matches if match} - {self._directory}
        abandoned = self._lease.abandoned(found)
        if not abandoned:
            return
        alive = {directory.removeprefix(prefix) for directory in found - set(abandoned)}
        names = {path.removeprefix(f"{self._output}/") for path in list_files(f"{self._output}/*")}
        unlisted = names - set(_listed_files(self._output))
        strays = [name for name in unlisted if (run := _RUN.search(name)) and run[1] not in alive]
        delete_files([f"{self._output}/{name}" for name in strays])
        for directory in abandoned:
            delete_leased(directory)


def _listed_files(output: str) -> list[str]:
    """What the summary of an output lists; nothing if there is none. Raises `UsageError` if it is no summary."""
    path = f"{output}/{SUMMARY_NAME}"
    if not list_files(path):
        return []
    try:
        names: Any = json.loads(read_file(path))["output_files"]
        return [str(name) for name in names]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} was not written by this command; name another directory") from error


def _check_existing(output: str, existing: ExistingOutput) -> None:
    listed = list_files(f"{output}/{SUMMARY_NAME}")
    if listed and existing == "refuse":
        raise UsageError(f"--output {output} exists; name a directory that does not, or add --overwrite to replace it")
    if listed:
        _listed_files(output)
        return
    others = [path for path in list_files(f"{output}/**") if not _RUN.search(path)]
    if others:
        raise UsageError(
            f"--output {output} holds {others[0]} and no {SUMMARY_NAME}, so it was not written by this command; "
            "name another directory"
        )


def _copy(moves: dict[str, str]) -> None:
    """Copies files by source and target, several at a time: object stores take a while for each."""
    pairs = list(moves.items())
    parts = [pairs[start : start + _COPIED_AT_ONCE] for start in range(0, len(pairs), _COPIED_AT_ONCE)]
    for directory in {posixpath.dirname(target) for target in moves.values()}:
        with contextlib.suppress(OSError):  # there already
            FileSystems.mkdirs(directory)
    with ThreadPoolExecutor(_COPIERS) as pool:
        copied = [pool.submit(FileSystems.copy, *map(list, zip(*part, strict=True))) for part in parts]
    for each in copied:
        each.result()


def _check_copied(moves: dict[str, str], sizes: dict[str, int], published: dict[str, int]) -> None:
    for path, target in moves.items():
        if published.get(target) != sizes[path]:
            raise UsageError(f"{target} has {published.get(target)} bytes; expected {sizes[path]}")
