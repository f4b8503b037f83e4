"""Replays the warm-up records of a version before it is called available; one that fails keeps it from loading."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from maf_serving.codes import Code
from serving_config.local_server.classify import classify
from serving_config.local_server.errors import RequestError
from serving_config.local_server.multi_inference import multi_inference
from serving_config.local_server.predict import predict
from serving_config.local_server.regress import regress

if TYPE_CHECKING:
    from serving_config.local_server.servable import Servable

WARMUP_PATH = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000


def replay_warmup(servable: Servable, version_dir: Path) -> None:
    """Answers every record of the version, if it has any.

    Raises:
      RequestError: if a record is damaged or fails, or if there are too many.
    """
    path = version_dir / WARMUP_PATH
    if not path.exists():
        return
    try:
        for number, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):
            if number == MOST_RECORDS:
                raise RequestError(
                    Code.INVALID_ARGUMENT, f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}"
                )
            _replay(servable, prediction_log_pb2.PredictionLog.FromString(record))
    except DecodeError as error:
        raise RequestError(Code.DATA_LOSS, f"Failed to parse warmup record: {path}") from error
    except tf.errors.OpError as error:
        message = f"Error reading warmup records at {path}: {error.message}"
        raise RequestError(Code(error.error_code), message) from error


def _replay(servable: Servable, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        predict(servable, log.predict_log.request)
    elif kind == "regress_log":
        regress(servable, log.regress_log.request)
    elif kind == "classify_log":
        classify(servable, log.classify_log.request)
    elif kind == "multi_inference_log":
        multi_inference(servable, log.multi_inference_log.request)
    else:
        raise RequestError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
