"""Files by URL, on whatever Beam's `FileSystems` know: `gs://`, `s3://`, ..."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, BinaryIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import UsageError
from maf_serving.byte_stream import decompress
from maf_serving.table_formats import find_compression

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WILDCARDS = "*?["
_DELETED_AT_ONCE = 500


@contextlib.contextmanager
def reported_as(what: str) -> Iterator[None]:
    """Whatever a file system raises in the block, as a `UsageError` of one line that begins with `what`.

    Every file system raises errors of its own, those of its libraries too; Beam wraps some of them.
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        details: dict[object, object] = getattr(error, "exception_details", None) or {None: error}
        reasons = dict.fromkeys(_message(reason) for reason in details.values())
        raise UsageError(f"{what}: {'; '.join(reasons)}") from error


def _message(error: object) -> str:
    arguments = getattr(error, "args", ())
    # Beam's error of S3 has its HTTP status as a second argument.
    text = arguments[0] if arguments and isinstance(arguments[0], str) else str(error)
    return " ".join(text.split())


def check_store(what: str, url: str) -> None:
    """Raises `UsageError` unless the URL is in an object store, which lists everything under a name at once.

    Nor may it hold characters that file systems would take for a glob: Beam cannot quote them.
    """
    found = [character for character in _WILDCARDS if character in url]
    if found:
        raise UsageError(f"{what} holds {found[0]!r}, as a glob does; expected a name without *, ? and [")
    with reported_as(f"{what} cannot be reached"):
        file_system = FileSystems.get_filesystem(url)
    if file_system.has_dirs():
        raise UsageError(
            f"{what} is on a file system with directories; expected an object store such as gs:// or s3://, or a path "
            "that all machines share"
        )


def list_files(pattern: str) -> dict[str, int]:
    """What a glob matches, objects that stand for directories apart: size in bytes by path."""
    (match,) = FileSystems.match([pattern])
    return {each.path: each.size_in_bytes for each in match.metadata_list if not each.path.endswith("/")}


def read_file(path: str) -> bytes:
    """All of a file."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        content: bytes = stream.read()
    return content


def write_file(path: str, content: bytes) -> None:
    """Writes a file at once: in an object store it appears whole, in place of an earlier one."""
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        stream.write(content)


def delete_files(paths: Sequence[str]) -> None:
    """Deletes files; one that is gone already does not matter."""
    for start in range(0, len(paths), _DELETED_AT_ONCE):
        FileSystems.delete(list(paths[start : start + _DELETED_AT_ONCE]))


def delete_tree(directory: str) -> None:
    """Deletes everything under a directory, and the directory where the file system has such a thing."""
    delete_files(list(list_files(f"{directory}/**")))
    with contextlib.suppress(BeamIOError):
        if FileSystems.exists(directory):
            FileSystems.delete([directory])


@contextlib.contextmanager
def open_stored(path: str) -> Iterator[BinaryIO]:
    """The bytes of a file as they are stored, compressed or not."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        yield stream


@contextlib.contextmanager
def open_chunks(path: str) -> Iterator[Iterator[bytes]]:
    """The bytes of a file, decompressed as its name says, a chunk at a time. See `byte_stream.decompress`."""
    with open_stored(path) as stream:
        yield decompress(stream, find_compression(path))
