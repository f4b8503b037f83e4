"""The signatures of an exported model, and requests to them: those of warm-up, and those that a verification sends.

What `saved_model.pb` states is all that TF Serving reads of them.

TF Serving answers the warm-up records before it calls a version available, so that no caller waits, and does not serve
a version that fails at one of them. They are replayed before a version is published.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, regression_pb2

from export.contract import (
    BY_COLUMN,
    IN_RANGE,
    REGRESS_METHOD_NAME,
    SERVING_DEFAULT,
    WARM,
    ConditionColumn,
    Contract,
    Signature,
    TensorSpec,
)
from export.errors import OptionError, VerificationError
from maf_serving.columns import numbers_dtype

if TYPE_CHECKING:
    from export.verification.inputs import VerificationInputs
    from maf_serving.batching import BatchingParameters

REGRESS = "regress"
ENCODE_CONDITION = "encode_condition"
LOG_PROB_EXAMPLES = "log_prob_examples"
SUMMARIZE = "summarize"
RAW = (ENCODE_CONDITION, LOG_PROB_EXAMPLES)  # signatures that take raw columns
CORE = ("log_prob", SERVING_DEFAULT, "inverse", "forward", *RAW)  # what others are made of, and verified with
INIT_OP = "__saved_model_init_op"  # stands among the signatures in `saved_model.pb`
Array = np.ndarray[Any, Any]
WARMUP_PATH = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000


def make_signatures(
    *,
    event_size: int,
    condition_size: int,
    dtype: str,
    sampling: tuple[str, ...],
    condition_columns: Sequence[ConditionColumn] = (),
    answering: tuple[str, ...] = (),
    num_quantiles: int = 0,
    has_ranges: bool = False,
) -> dict[str, Signature]:
    """Names, types and shapes of every signature, `[B, ...]` throughout.

    Args:
      event_size: D.
      condition_size: C; with 0 no signature has a `conditional_input`.
      dtype: of every floating-point tensor; `regress` is float32 whatever the model is, because TF Serving takes no
        other output, and its input is serialized `tf.Example`s with features `x` and `conditional_input`.
      sampling: names of the sampling signatures to offer, of those in `sampling_signatures`.
      condition_columns: raw columns that are more than plain numbers; with them come the signatures that take them.
      answering: names of those to offer of `ONE_COLUMN` or `SEVERAL_COLUMNS`.
      num_quantiles: Q, of `summarize`.
      has_ranges: whether to offer `in_range`.
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
    probabilities = {"probability": TensorSpec(dtype, (None,))}
    summary = {
        "mean": TensorSpec(dtype, (None, event_size)),
        "stddev": TensorSpec(dtype, (None, event_size)),
        "quantiles": TensorSpec(dtype, (None, event_size, num_quantiles)),
    }
    answers = {
        "cdf": Signature(x | condition, {"cdf": TensorSpec(dtype, (None,))}),
        "quantile": Signature(probabilities | condition, x),
        "conditional_cdf": Signature(x | condition, {"conditional_cdf": TensorSpec(dtype, (None, event_size))}),
        "summarize": Signature(condition | seed, summary),
    }
    signatures |= {name: answers[name] for name in answering}
    if has_ranges:
        signatures[IN_RANGE] = Signature(condition, {"in_range": TensorSpec("bool", (None,))})
    left_out = {"sample", "sample_with_seed"}.difference(sampling)
    return {name: signature for name, signature in signatures.items() if name not in left_out}


def chosen_signatures(signatures: Mapping[str, Signature], names: Sequence[str] | None) -> dict[str, Signature]:
    """Those of `names`, the vectors' ones that they stand for, and `CORE`; all for `None`.

    Raises:
      OptionError: for a name that is not among `signatures`.
    """
    if names is None:
        return dict(signatures)
    for name in names:
        _check_known(name, "signatures", signatures)
    wanted = {*CORE, *names, *(BY_COLUMN[name] for name in names if name in BY_COLUMN)}
    return {name: signature for name, signature in signatures.items() if name in wanted}


def _check_known(name: str, option: str, signatures: Mapping[str, Signature]) -> None:
    if name not in signatures:
        raise OptionError(f"{option} names {name!r}; expected some of {', '.join(signatures)}")


def _raw_signatures(
    columns: Sequence[ConditionColumn], condition: dict[str, TensorSpec], log_prob: dict[str, TensorSpec], dtype: str
) -> dict[str, Signature]:
    categories = [column for column in columns if column.is_category]
    raw = {}
    if len(categories) < len(columns):
        raw["numbers"] = TensorSpec(numbers_dtype(columns, dtype), (None, len(columns) - len(categories)))
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


def check_signature_defs(version_dir: Path, contract: Contract) -> None:
    """Raises `VerificationError` unless `saved_model.pb` states the contract's names, tensors and methods."""
    path = version_dir / "saved_model.pb"
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise VerificationError(f"{path} cannot be read: {error}") from error
    for meta_graph in saved_model.meta_graphs:
        stated = {name: value for name, value in meta_graph.signature_def.items() if name != INIT_OP}
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


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One call: a name that tells it from others, a signature, and its inputs by name.

    Texts are arrays of `bytes` objects.
    """

    name: str
    signature: str
    inputs: Mapping[str, Array]


def signature_features(contract: Contract, name: str) -> list[str]:
    """Names of the arrays in `VerificationInputs` that a signature takes, as features of Examples or as tensors."""
    regress = contract.signature(name).method_name == REGRESS_METHOD_NAME
    return list(contract.signature("log_prob" if regress else name).inputs)


def as_sent(contract: Contract, name: str, features: Mapping[str, Array]) -> Mapping[str, Array]:
    """The inputs by name of a signature, from its features."""
    if contract.signature(name).method_name == REGRESS_METHOD_NAME:
        return {"inputs": serialize_examples(features)}
    return features


def serialize_examples(features: Mapping[str, Array]) -> Array:
    """`[N]` serialized `tf.Example`s (an array of `bytes` objects) of features `[N, K]`, rounded to float32."""
    rows = len(next(iter(features.values())))
    serialized = np.empty(rows, object)
    for row in range(rows):
        lists = {name: tf.train.FloatList(value=values[row]) for name, values in features.items()}
        feature = {name: tf.train.Feature(float_list=values) for name, values in lists.items()}
        serialized[row] = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    return serialized


def warm_signatures(contract: Contract, names: Sequence[str] | None) -> list[str]:
    """Those of `names` that a version has; all for `None`. Raises `OptionError` for one that no version has."""
    if names is None:
        return list(contract.signatures)
    for name in names:
        if name not in (*contract.signatures, *WARM):  # these are the default, and not every model can be drawn from
            _check_known(name, "warmup_signatures", contract.signatures)
    return [name for name in contract.signatures if name in names]


def check_batch_sizes(
    batch_sizes: Sequence[int], signatures: Sequence[str], batching: BatchingParameters | None
) -> None:
    """Raises `OptionError` unless these are different numbers of rows that a server takes, and few enough of them."""
    for size in batch_sizes:
        if size < 1 or batch_sizes.count(size) > 1:
            raise OptionError(
                f"warmup_batch_sizes is {_listed(batch_sizes)}; expected different numbers of rows, each at least 1"
            )
    if batching is not None and batch_sizes and max(batch_sizes) > batching.max_batch_size:
        raise OptionError(
            f"warmup_batch_sizes is {_listed(batch_sizes)} and max_batch_size is {batching.max_batch_size}; a server "
            "refuses a larger request, and would not load the version"
        )
    records = len(batch_sizes) * len(signatures)
    if records > MOST_RECORDS:
        raise OptionError(
            f"warmup_batch_sizes has {len(batch_sizes)} sizes for {len(signatures)} signatures, which makes "
            f"{records} records; TF Serving takes {MOST_RECORDS}: name {MOST_RECORDS // len(signatures)} "
            "sizes or fewer"
        )


def warmup_requests(
    contract: Contract, inputs: VerificationInputs, batch_sizes: Sequence[int], signatures: Sequence[str]
) -> list[Request]:
    """One request for every batch size and signature, of typical and finite rows."""
    return [
        Request(f"warm-up of {rows} rows", name, as_sent(contract, name, typical.of_signature(contract, name)))
        for rows, typical in ((rows, inputs.typical(rows)) for rows in batch_sizes)
        for name in signatures
    ]


def write_warmup(version_dir: Path, contract: Contract, requests: Sequence[Request]) -> None:
    """Writes the records, one for each request; no file for no requests."""
    if not requests:
        return
    path = version_dir / WARMUP_PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            regress = contract.signature(request.signature).method_name == REGRESS_METHOD_NAME
            log = _regress_log(request) if regress else _predict_log(request)
            writer.write(log.SerializeToString(deterministic=True))


def read_warmup(version_dir: Path) -> list[Request]:
    """The requests that `write_warmup` wrote; none if there is no file."""
    path = version_dir / WARMUP_PATH
    if not path.exists():
        return []
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [
        _request(f"warm-up record {number}", prediction_log_pb2.PredictionLog.FromString(record))
        for number, record in enumerate(records)
    ]


def _predict_log(request: Request) -> prediction_log_pb2.PredictionLog:
    predict = predict_pb2.PredictRequest()
    predict.model_spec.signature_name = request.signature
    for name, value in request.inputs.items():
        predict.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=predict))


def _regress_log(request: Request) -> prediction_log_pb2.PredictionLog:
    regress = regression_pb2.RegressionRequest()
    regress.model_spec.signature_name = request.signature
    for serialized in request.inputs["inputs"]:
        regress.input.example_list.examples.append(tf.train.Example.FromString(serialized))
    return prediction_log_pb2.PredictionLog(regress_log=prediction_log_pb2.RegressLog(request=regress))


def _request(name: str, log: prediction_log_pb2.PredictionLog) -> Request:
    if log.WhichOneof("log_type") == "regress_log":
        regress = log.regress_log.request
        serialized = [example.SerializeToString() for example in regress.input.example_list.examples]
        return Request(name, regress.model_spec.signature_name, {"inputs": np.array(serialized, object)})
    predict = log.predict_log.request
    inputs = {key: tf.make_ndarray(tensor) for key, tensor in predict.inputs.items()}
    return Request(name, predict.model_spec.signature_name, inputs)


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))
