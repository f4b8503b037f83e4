"""How TFRecord frames a record: its length and its bytes, each with a checksum."""

from __future__ import annotations

import struct

import google_crc32c

HEADER = struct.Struct("<QI")
CHECKSUM = struct.Struct("<I")


def masked_checksum(data: bytes) -> int:
    """CRC-32C, rotated by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def header(length: int) -> bytes:
    """What comes before a record of so many bytes; `CHECKSUM` of them comes after it."""
    size = struct.pack("<Q", length)
    return size + CHECKSUM.pack(masked_checksum(size))
