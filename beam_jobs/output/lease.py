"""A sign of life beside the files of a job, where no directory can be locked.

    launcher                 writes lease.json: this process, on this machine     rewritten every minute by a thread
        | hand_over()
        v
    queued                   lease.json: nobody's, queued                         kept for a day without a renewal
        | a worker reads its first batch: renew_lease()
        v
    workers                  lease.json: nobody's                                 rewritten each minute of work
        | the last step: held()
        v
    worker that publishes    rewritten every minute by a thread, until the output is published and the directory deleted

The next job with the same output deletes the directories that are abandoned. One is abandoned if the process that its
lease names ran on this machine and is gone; or if its lease is a quarter of an hour old (a day, while it is queued).
Ages are taken by the clock of the file system, which is the same for all: "now" is when the asking job's own lease was
last written. Files without a lease are what stragglers wrote after their job had deleted it; they stay as long.

Once it was handed over, a renewal never creates the file: it rewrites one that is there. So a job whose directory was
deleted, because it was cancelled or taken for left over, sees that in `held`, and publishes nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import JobError
from beam_jobs.storage import delete_files, delete_tree, list_files, read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LEASE_NAME = "lease.json"
RENEWED_AFTER = 60.0
EXPIRED_AFTER = 900.0
QUEUED_FOR = 86_400.0
_LONGEST_WRITE = 10.0  # seconds; what takes longer is not waited for
# Of workers that have begun, and of ones that have not: then nobody but the launcher renews.
_NOBODYS = json.dumps({"place": None, "process": None}).encode()
_QUEUED = json.dumps({"place": None, "process": None, "queued": True}).encode()
_LOGGER = logging.getLogger(__name__)


# By directory, when this process renews next.
_next_renewal: dict[str, float] = {}
_renewals = threading.Lock()
_writes = threading.Lock()  # so that a renewal that began before it does not undo a handing over


class Lease:
    """The file `lease.json` in a remote directory, and the thread that renews it. See the module for its life.

    It can be pickled: the copy on a worker has no thread until `held` starts one.
    """

    def __init__(self, directory: str) -> None:
        """Writes the file. Raises whatever the file system raises."""
        self._path = f"{directory}/{LEASE_NAME}"
        self._text: bytes | None = json.dumps({"place": _place(), "process": os.getpid()}).encode()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        write_file(self._path, self._text)
        self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def hand_over(self) -> None:
        """The directory no longer belongs to this process, which may end; while it lives it goes on renewing."""
        with _writes:
            self._text = None
            write_file(self._path, _QUEUED)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """For a copy of this lease in another process: renews it while the block runs.

        Raises:
          JobError: the lease is gone.
        """
        if not list_files(self._path):
            raise JobError(f"{self._path} is gone: the job was cancelled, or taken for left over; nothing is published")
        self._ended.clear()
        self._start()
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Stops renewing: no file is written any more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_LONGEST_WRITE)

    def __getstate__(self) -> dict[str, Any]:
        """Threads and what they wait for stay in their process."""
        return {name: value for name, value in self.__dict__.items() if name not in {"_ended", "_thread"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._ended = threading.Event()
        self._thread = None

    def abandoned(self, directories: Iterable[str]) -> list[str]:
        """Those of the directories that no living job owns."""
        now = FileSystems.last_updated(self._path)
        return [each for each in directories if _is_abandoned(each, now)]

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED_AFTER):
            try:
                with _writes:
                    if self._text is not None:
                        write_file(self._path, self._text)
                    elif list_files(self._path):  # of the workers: as they left it, and if it is there
                        write_file(self._path, read_file(self._path))
            except Exception:  # whatever a file system raises: the next time may work
                _LOGGER.warning("%s could not be renewed", self._path, exc_info=True)


def delete_leased(directory: str) -> None:
    """Deletes a directory, and its lease last: until then the next job can tell whose it is."""
    delete_files([path for path in list_files(f"{directory}/**") if path != f"{directory}/{LEASE_NAME}"])
    delete_tree(directory)


def renew_lease(directory: str) -> None:
    """Renews a lease that was handed to the workers, of which this is one: at most once a minute, and cheap between."""
    with _renewals:
        now = time.monotonic()
        if now < _next_renewal.get(directory, 0.0):
            return
        _next_renewal[directory] = now + RENEWED_AFTER
    path = f"{directory}/{LEASE_NAME}"
    try:
        if list_files(path) and read_file(path) in {_NOBODYS, _QUEUED}:
            write_file(path, _NOBODYS)
    except Exception:  # whatever a file system raises: the next time may work
        _LOGGER.warning("%s could not be renewed", path, exc_info=True)


def _is_abandoned(directory: str, now: float) -> bool:
    path = f"{directory}/{LEASE_NAME}"
    if not list_files(path):
        # What stragglers wrote after their job had deleted it.
        times = [FileSystems.last_updated(each) for each in list_files(f"{directory}/**")]
        return not times or now - max(times) > EXPIRED_AFTER
    owner: dict[str, Any] = json.loads(read_file(path))
    if owner["process"] is not None and owner["place"] == _place():
        return not _is_running(owner["process"])
    renewed: float = FileSystems.last_updated(path)
    return now - renewed > (QUEUED_FOR if owner.get("queued") else EXPIRED_AFTER)


def _place() -> str:
    """What tells the processes of this machine, or container, from those of others."""
    boot, processes = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if not (boot.exists() and processes.is_symlink()):
        return socket.gethostname()
    return f"{socket.gethostname()} {boot.read_text(encoding='ascii').strip()} {processes.readlink()}"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
