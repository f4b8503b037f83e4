"""Writes the message types of TensorFlow Serving's Predict call for `protoc`, and prints the names of their files.

    protoc --descriptor_set_in=protos.pb --java_out=java $(python protos.py protos.pb)

They come from the package `tensorflow-serving-api`; its sources are in github.com/tensorflow/serving.
"""

import sys
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tensorflow_serving.apis import predict_pb2


def add_file(files: FileDescriptorSet, descriptor: Any) -> None:
    """Adds what a file imports, and then the file, each once."""
    if descriptor.name in [file.name for file in files.file]:
        return
    for imported in descriptor.dependencies:
        add_file(files, imported)
    descriptor.CopyToProto(files.file.add())


def main(path: str) -> None:
    """Writes them to a file."""
    files = FileDescriptorSet()
    add_file(files, predict_pb2.DESCRIPTOR)
    Path(path).write_bytes(files.SerializeToString())
    print(*(file.name for file in files.file if not file.name.startswith("google/")))


if __name__ == "__main__":
    main(sys.argv[1])
