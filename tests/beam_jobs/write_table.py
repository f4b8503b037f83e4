"""The same rows in every input format."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
from pathlib import Path

import fastavro
import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq

FORMATS = ("parquet", "csv", "csv.gz", "jsonl", "jsonl.gz", "avro", "tfrecord", "tfrecord.gz")


def write_table(path: Path, columns: dict[str, list], row_group_size: int = 500) -> str:
    """Columns of floats and, of name `id`, of integers; the extension says the format."""
    name = path.name
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if name.endswith(".parquet"):
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size, write_page_checksum=True)
        return str(path)
    if name.endswith(".avro"):
        fields = [{"name": key, "type": ["null", "long" if key == "id" else "double"]} for key in columns]
        with path.open("wb") as stream:
            fastavro.writer(
                stream, {"type": "record", "name": "row", "fields": fields}, rows, codec="deflate", sync_interval=2000
            )
        return str(path)
    data = encode(name.removesuffix(".gz"), columns, rows)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


def encode(name: str, columns: dict[str, list], rows: list[dict]) -> bytes:
    if name.endswith(".csv"):
        text = io.StringIO()
        csv.writer(text).writerows([columns, *(row.values() for row in rows)])
        return text.getvalue().encode()
    if name.endswith(".jsonl"):
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    return b"".join(frame(example(row)) for row in rows)


def frame(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def example(row: dict) -> bytes:
    """A `tf.Example` as TensorFlow serializes it."""
    import tensorflow as tf  # noqa: PLC0415  # the tests of this format alone

    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        if isinstance(value, int)
        else tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        for name, value in row.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
