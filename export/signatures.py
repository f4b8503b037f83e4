"""The signatures that an exported model offers, as data."""

from __future__ import annotations

from collections.abc import Sequence

from export.contract import REGRESS_METHOD_NAME, ConditionColumn, Signature, TensorSpec

SERVING_DEFAULT = "serving_default"
REGRESS = "regress"
ENCODE_CONDITION = "encode_condition"
LOG_PROB_EXAMPLES = "log_prob_examples"
RAW = (ENCODE_CONDITION, LOG_PROB_EXAMPLES)  # signatures that take raw columns


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
