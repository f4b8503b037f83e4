"""Warm-up records are answered before a version is available; a bad one keeps it from loading."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving_config.local_server import RequestError
from serving_config.local_server.loading import MOST_RECORDS, LoadOptions, load_servable
from tests.serving_config.local_server.support import predict_request


def write(version_dir, *records):
    path = version_dir / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def log(**request):
    predict = prediction_log_pb2.PredictLog(request=predict_request(**request))
    return prediction_log_pb2.PredictionLog(predict_log=predict).SerializeToString()


def load(version_dir):
    runs = []
    servable = load_servable("small", 1, version_dir, LoadOptions(), lambda api, _seconds: runs.append(api))
    servable.close()
    return runs


def test_good_records_are_answered(base):
    write(base / "1", log(), log())
    assert load(base / "1") == ["Predict", "Predict"]


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ([log(), log(signature="nope")], 'Serving signature key "nope" not found'),
        ([b"\xff\xff"], "Failed to parse warmup record"),
        ([prediction_log_pb2.PredictionLog().SerializeToString()], "Unsupported log_type"),
        ([log()] * (MOST_RECORDS + 1), "exceeds the maximum"),
    ],
    ids=["fails", "garbage", "empty", "too_many"],
)
def test_a_bad_record_keeps_the_version_from_loading(base, records, complaint):
    write(base / "1", *records)
    with pytest.raises(RequestError, match=complaint):
        load(base / "1")


def test_a_damaged_file_keeps_the_version_from_loading(base):
    write(base / "1", log())
    path = base / "1" / "assets.extra" / "tf_serving_warmup_requests"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RequestError, match="Error reading warmup records"):
        load(base / "1")
