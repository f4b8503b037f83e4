"""The signatures that an exported model offers: as data, and as `saved_model.pb` states them.

What `saved_model.pb` states is all that TF Serving reads of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils  # no public function writes a fingerprint

from export.contract import REGRESS_METHOD_NAME, ConditionColumn, Contract, Signature, TensorSpec
from export.errors import VerificationError

SERVING_DEFAULT = "serving_default"
REGRESS = "regress"
ENCODE_CONDITION = "encode_condition"
LOG_PROB_EXAMPLES = "log_prob_examples"
RAW = (ENCODE_CONDITION, LOG_PROB_EXAMPLES)  # signatures that take raw columns
_INIT_OP = "__saved_model_init_op"


def make_signatures(
    *,
    event_size: int,
    condition_size: int,
    dtype: str,
    sampling: tuple[str, ...],
    condition_columns: Sequence[ConditionColumn] = (),
) -> dict[str, Signature]:
    """Names, types and shapes of every signature, `[B, ...]` throughout.

    Args:
      event_size: D.
      condition_size: C; with 0 no signature has a `conditional_input`.
      dtype: of every floating-point tensor; `regress` is float32 whatever the model is, because TF Serving takes no
        other output, and its input is serialized `tf.Example`s with features `x` and `conditional_input`.
      sampling: names of the sampling signatures to offer, of those in `sampling_signatures`.
      condition_columns: raw columns that are more than plain numbers; with them come the signatures that take them.
    """
    x = {"x": TensorSpec(dtype, (None, event_size))}
    z = {"z": TensorSpec(dtype, (None, event_size))}
    condition = {"conditional_input": TensorSpec(dtype, (None, condition_size))} if condition_size else {}
    seed = {"seed": TensorSpec("int64", (None,))}
    log_prob = {"log_prob": TensorSpec(dtype, (None,))}
    signatures = {
        "log_prob": Signature(x | condition, log_prob),
        SERVING_DEFAULT: Signature(x | condition, log_prob),
        "sample": Signature(condition, x | log_prob),
        "sample_with_seed": Signature(condition | seed, x | log_prob),
        "inverse": Signature(x | condition, z | log_prob),
        "forward": Signature(z | condition, x),
        REGRESS: Signature(
            {"inputs": TensorSpec("string", (None,))}, {"outputs": TensorSpec("float32", (None,))}, REGRESS_METHOD_NAME
        ),
    }
    if condition_columns:
        signatures |= _raw_signatures(condition_columns, condition, log_prob, dtype)
    left_out = {"sample", "sample_with_seed"}.difference(sampling)
    return {name: signature for name, signature in signatures.items() if name not in left_out}


def _raw_signatures(
    columns: Sequence[ConditionColumn], condition: dict[str, TensorSpec], log_prob: dict[str, TensorSpec], dtype: str
) -> dict[str, Signature]:
    categories = [column for column in columns if column.is_category]
    raw = {}
    if len(categories) < len(columns):
        raw["numbers"] = TensorSpec(dtype, (None, len(columns) - len(categories)))
    if categories:
        raw["categories"] = TensorSpec("string", (None, len(categories)))
    if any(column.nullable for column in categories):
        raw["null_categories"] = TensorSpec("bool", (None, len(categories)))
    return {
        ENCODE_CONDITION: Signature(raw, condition),
        LOG_PROB_EXAMPLES: Signature({"examples": TensorSpec("string", (None,))}, log_prob),
    }


def sampling_signatures(condition_size: int) -> tuple[str, ...]:
    """Names of the sampling signatures of a model whose base distribution can be drawn from.

    An unconditional model has no `sample`: without any input nothing says how many rows to draw.
    """
    return ("sample", "sample_with_seed") if condition_size else ("sample_with_seed",)


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
