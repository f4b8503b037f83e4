"""The signatures as `saved_model.pb` states them, which is all that TF Serving reads of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils  # no public function writes a fingerprint

from export.contract import Contract, Signature, TensorSpec
from export.errors import VerificationError

_INIT_OP = "__saved_model_init_op"


def write_method_names(version_dir: Path, contract: Contract) -> None:
    """Gives every signature its contract's method name: `tf.saved_model.save` writes that of Predict for all."""
    path = version_dir / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        for name, signature in contract.signatures.items():
            meta_graph.signature_def[name].method_name = signature.method_name
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(version_dir))  # of what is in the file now


def check_signature_defs(version_dir: Path, contract: Contract) -> None:
    """Raises `VerificationError` unless `saved_model.pb` states the contract's names, tensors and methods."""
    path = version_dir / "saved_model.pb"
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise VerificationError(f"{path} cannot be read: {error}") from error
    for meta_graph in saved_model.meta_graphs:
        stated = {name: value for name, value in meta_graph.signature_def.items() if name != _INIT_OP}
        if stated.keys() != contract.signatures.keys():
            raise VerificationError(
                f"{path} has the signatures {_names(stated)}; its contract says {_names(contract.signatures)}"
            )
        for name, definition in stated.items():
            if _signature(definition) != contract.signatures[name]:
                raise VerificationError(
                    f"{path}: signature {name!r} is {_signature(definition)}; its contract says "
                    f"{contract.signatures[name]}"
                )


def _signature(definition: meta_graph_pb2.SignatureDef) -> Signature:
    def specs(tensors: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, TensorSpec]:
        return {name: _spec(info) for name, info in tensors.items()}

    return Signature(specs(definition.inputs), specs(definition.outputs), definition.method_name)


def _spec(info: meta_graph_pb2.TensorInfo) -> TensorSpec:
    sizes = (dimension.size for dimension in info.tensor_shape.dim)
    return TensorSpec(tf.as_dtype(info.dtype).name, tuple(None if size < 0 else size for size in sizes))


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
