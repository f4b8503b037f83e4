"""Calls of signatures, and files of them: what verification replays, and the warm-up records of a version.

TF Serving answers the warm-up records before it calls a version available, so that no caller waits, and does not serve
a version that fails at one of them. They are replayed before a version is published.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, regression_pb2

from export.contract import REGRESS_METHOD_NAME, Contract
from export.errors import OptionError

if TYPE_CHECKING:
    from export.verification.inputs import VerificationInputs
    from maf_serving.batching import BatchingParameters

Array = np.ndarray[Any, Any]
WARMUP_PATH = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One call: a name that tells it from others, a signature, and its inputs by name.

    Texts are arrays of `bytes` objects.
    """

    name: str
    signature: str
    inputs: Mapping[str, Array]


def write_requests(path: Path, requests: Sequence[Request]) -> None:
    """Writes what `read_requests` reads."""
    write_replies(path, {array_key(r.name, r.signature, k): _written(v) for r in requests for k, v in r.inputs.items()})


def read_requests(path: Path) -> list[Request]:
    """The requests in a file."""
    inputs: dict[tuple[str, str], dict[str, Array]] = {}
    with np.load(path) as archive:
        for key, value in archive.items():
            name, signature, tensor = key.split("|")
            inputs.setdefault((name, signature), {})[tensor] = _read(value)
    return [Request(name, signature, tensors) for (name, signature), tensors in inputs.items()]


def write_replies(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes what `np.load` reads."""
    entries: Any = arrays  # NumPy's stubs take every keyword for `allow_pickle`
    np.savez(path, **entries)


def array_key(*parts: str) -> str:
    """One name for an array in a file, of names without `|`."""
    return "|".join(parts)


def _written(value: Array) -> Array:
    """Texts in base64: NumPy's own fixed-width texts lose zeros at the end."""
    if value.dtype.kind != "O":
        return value
    return _of_shape(value, np.array([base64.b64encode(text) for text in value.ravel()], np.bytes_))


def _read(value: Array) -> Array:
    if value.dtype.kind != "S":
        return value
    return _of_shape(value, np.array([base64.b64decode(text) for text in value.ravel()], object))


def _of_shape(value: Array, flat: Array) -> Array:
    shaped: Array = flat.reshape(value.shape)
    return shaped


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


def check_batch_sizes(batch_sizes: Sequence[int], contract: Contract, batching: BatchingParameters | None) -> None:
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
    records = len(batch_sizes) * len(contract.signatures)
    if records > MOST_RECORDS:
        raise OptionError(
            f"warmup_batch_sizes has {len(batch_sizes)} sizes for {len(contract.signatures)} signatures, which makes "
            f"{records} records; TF Serving takes {MOST_RECORDS}: name {MOST_RECORDS // len(contract.signatures)} "
            "sizes or fewer"
        )


def warmup_requests(contract: Contract, inputs: VerificationInputs, batch_sizes: Sequence[int]) -> list[Request]:
    """One request for every batch size and signature, of typical and finite rows."""
    return [
        Request(
            f"warm-up of {rows} rows", name, as_sent(contract, name, typical.of(signature_features(contract, name)))
        )
        for rows, typical in ((rows, inputs.typical(rows)) for rows in batch_sizes)
        for name in contract.signatures
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
