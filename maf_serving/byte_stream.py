"""The bytes of a file, decompressed, up to where they end or turn out damaged; and text of them in whole lines."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import io
import zlib
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from maf_serving.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from _typeshed import WriteableBuffer

    OpenChunks = Callable[[], AbstractContextManager[Iterator[bytes]]]

UNREADABLE = (OSError, EOFError, zlib.error)
ENDS_WITHIN_A_ROW = "the file ends within a row"
CHUNK_BYTES = 1 << 20
_COMPRESSED_BYTES = 1 << 18
_SMALLEST_BYTES = 64
_GZIP = zlib.MAX_WBITS | 16
_UTF8 = ("utf-8", "utf-8-sig", "ascii")


def decompress(stream: BinaryIO, compression: str | None) -> Iterator[bytes]:
    """The bytes of an open file, a chunk of at most `CHUNK_BYTES` at a time.

    Raises one of `UNREADABLE` where they cannot be read, after what could be: all of it of a plain or gzip file, and
    up to the last chunk of a bzip2 or zstd one.

    Args:
      stream: the file.
      compression: `"gzip"`, `"bz2"`, `"zstd"` or `None`; a file may have several members, one after the other.
    """
    if compression == "gzip":
        return _gunzip(stream)
    if compression == "bz2":
        return _chunks(bz2.BZ2File(stream))
    if compression == "zstd":
        return _chunks(pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd"))
    return _chunks(stream)


def _chunks(stream: BinaryIO | bz2.BZ2File) -> Iterator[bytes]:
    return iter(lambda: stream.read(CHUNK_BYTES), b"")


def as_utf8(open_chunks: OpenChunks, encoding: str) -> OpenChunks:
    """Opens the same text in UTF-8; see `to_utf8`."""
    if codecs.lookup(encoding).name in _UTF8:
        return open_chunks

    @contextlib.contextmanager
    def open_in_utf8() -> Iterator[Iterator[bytes]]:
        with open_chunks() as chunks:
            yield to_utf8(chunks, encoding)

    return open_in_utf8


def to_utf8(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The same text in UTF-8, in chunks that are no smaller; without a byte order mark.

    Raises `OSError` that names the byte, one of `UNREADABLE`, where the bytes are no text of that encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    waiting: list[bytes] = []
    size = passed = 0
    for chunk in chunks:
        waiting.append(_decoded(decoder, chunk, passed, encoding))
        passed += len(chunk)
        size += len(waiting[-1])
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    waiting.append(_decoded(decoder, b"", passed, encoding, final=True))
    if any(waiting):
        yield b"".join(waiting)


def _decoded(
    decoder: codecs.IncrementalDecoder, chunk: bytes, passed: int, encoding: str, *, final: bool = False
) -> bytes:
    held = len(decoder.getstate()[0])
    try:
        return decoder.decode(chunk, final).encode()
    except UnicodeError as error:
        at = f" at byte {passed - held + error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise OSError(f"it is no text in {encoding}{at}; name its own --csv_encoding") from error


def _gunzip(stream: BinaryIO) -> Iterator[bytes]:
    """What a gzip file holds, of one member or several; Python's own reader gives up what comes before damage."""
    decoder = zlib.decompressobj(_GZIP)
    begun = False
    for compressed in iter(lambda: stream.read(_COMPRESSED_BYTES), b""):
        rest = compressed
        while rest:
            if decoder.eof:
                decoder, begun = zlib.decompressobj(_GZIP), False
            before = decoder.copy()
            begun = True
            try:
                data = decoder.decompress(rest, CHUNK_BYTES)
            except zlib.error:
                yield from _up_to_damage(before, rest)
                raise
            yield data
            rest = decoder.unconsumed_tail or decoder.unused_data
    if begun and not decoder.eof:
        raise EOFError("the compressed file ends too early")


def _up_to_damage(decoder: zlib._Decompress, rest: bytes) -> Iterator[bytes]:
    """What can be decoded of the bytes, some of which cannot."""
    for start in range(0, len(rest), _SMALLEST_BYTES):
        try:
            yield decoder.decompress(rest[start : start + _SMALLEST_BYTES])
        except zlib.error:
            return


class WholeLines(io.RawIOBase):
    """A stream of whole lines: it ends before the line in which the bytes under it cannot be read any more.

    A number cut in two would be another number.

    Attributes:
      damage: why it ended there, or `None` while all is well.
      unterminated: whether the last line, once it has been read, lacks its line break.
    """

    def __init__(
        self,
        chunks: Iterator[bytes],
        *,
        convert: Callable[[bytes], bytes] = bytes,
        is_whole: Callable[[bytes], bool] | None = None,
    ) -> None:
        """See the class.

        Args:
          chunks: the bytes.
          convert: is applied to some whole lines at a time.
          is_whole: whether a last line that lacks its line break may be one; without it, all may.
        """
        super().__init__()
        self.damage: str | None = None
        self.unterminated = False
        self._is_whole = is_whole
        self._chunks = chunks
        self._convert = convert
        self._whole = memoryview(b"")
        self._rest: list[bytes] = []
        self._at_end = False

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills the buffer with what there is; 0 at the end."""
        while not self._whole and not self._at_end:
            self._fill()
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._whole))
        view[:count] = self._whole[:count]
        self._whole = self._whole[count:]
        return count

    def lines(self) -> Iterator[list[bytes]]:
        """The lines, without their line breaks, a chunk at a time."""
        while not self._at_end:
            self._fill()
            if self._whole:
                yield bytes(self._whole).splitlines()
                self._whole = memoryview(b"")

    def _fill(self) -> None:
        try:
            chunk = next(self._chunks, None)
        except UNREADABLE as error:
            self.damage = one_line(error)
            self._at_end = True
            return
        self._at_end = chunk is None
        if self._at_end:
            self._check_last_line()
        end = 0 if chunk is None else chunk.rfind(b"\n") + 1
        if self._at_end or end:
            whole = b"".join([*self._rest, (chunk or b"")[:end]])
            self._whole = memoryview(self._convert(whole))
            self._rest = []
        if chunk is not None:
            self._rest.append(chunk[end:])

    def _check_last_line(self) -> None:
        last = b"".join(self._rest)
        self.unterminated = bool(last)
        if last.strip() and self._is_whole is not None and not self._is_whole(last):
            self.damage = ENDS_WITHIN_A_ROW
            self._rest = []
