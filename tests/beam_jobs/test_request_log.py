"""Request logs of TensorFlow Serving as input, written with its own messages."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from tensorflow import make_tensor_proto
from tensorflow_serving.apis import prediction_log_pb2

from beam_jobs import EvaluateOptions, UsageError, evaluate_table
from beam_jobs.sources.tfrecord_source import NOT_A_LOG, WRONG_TENSOR, rows_of_log
from export.contract import CONTRACT_PATH, read_contract
from tests.beam_jobs.conftest import log_prob
from tests.beam_jobs.write_table import frame


def log_of(signature: str, **inputs) -> bytes:
    log = prediction_log_pb2.PredictionLog()
    log.log_metadata.model_spec.name = "flow"
    log.predict_log.request.model_spec.signature_name = signature
    for name, values in inputs.items():
        log.predict_log.request.inputs[name].CopyFrom(make_tensor_proto(values))
    log.predict_log.response.outputs["log_prob"].CopyFrom(make_tensor_proto([0.0]))
    return log.SerializeToString()


def test_requests_by_vector_and_by_column_are_rows(score, tmp_path, density):
    random = np.random.default_rng(0)
    x, c = random.normal(size=(7, 2)).astype(np.float32), random.normal(size=(7, 1)).astype(np.float32)
    records = [
        log_of("log_prob", x=x[:3], conditional_input=c[:3]),
        log_of("sample", conditional_input=c),
        log_of("", x=x[3:4], conditional_input=c[3:4]),
        log_of("log_prob_columns", x0=x[4:, 0].astype(float), x1=x[4:, 1].astype(float), c0=c[4:, 0].astype(float)),
        log_of("log_prob", x=x[:2, :1], conditional_input=c[:2]),
        b"\xff\xff",
    ]
    path = tmp_path / "sales-0"
    path.write_bytes(b"".join(frame(record) for record in records))
    done = score(str(path), input_format="request_log", batch_size=2)
    assert done.summary.rows_read == 10
    expected = density(x[:, 0], x[:, 1], c[:, 0])
    found = done.log_probs()
    np.testing.assert_allclose([found[str(path), row] for row in range(7)], expected, rtol=1e-5)
    reasons = done.reasons()
    assert [reasons[str(path), row] for row in (7, 8, 9)] == [
        *["x: wrong size: expected 2 values, got 1"] * 2,
        NOT_A_LOG,
    ]


def test_tensors_by_column_are_columns_by_the_names_of_the_model(run_job, model_base, tmp_path):
    version = tmp_path / "models" / "3"
    shutil.copytree(model_base / "3", version)
    contract = dataclasses.replace(read_contract(version), tensor_names={"x0": "x_0", "x1": "x1", "c0": "c_0"})
    (version / CONTRACT_PATH).write_text(contract.to_json())
    record = log_of("log_prob_columns", x_0=[0.5, 1.0], x1=[2.0, 3.0], c_0=[0.0, 0.1])
    (tmp_path / "log-0").write_bytes(frame(record))
    options = {"model": str(version.parent), "input_format": "request_log"}
    out = run_job(evaluate_table, EvaluateOptions, str(tmp_path / "log-0"), crps_rows=0, **options)
    expected = -log_prob(np.array([0.5, 1.0]), np.array([2.0, 3.0]), np.array([0.0, 0.1])).mean()
    assert json.loads((out / "_summary.json").read_text())["overall"]["mean_nll"] == pytest.approx(expected, rel=1e-5)


def test_texts_are_decoded_and_tensors_that_do_not_go_together_are_refused():
    log = log_of("log_prob_columns", price=[1.0, 2.0], region=["north", "süd"])
    assert rows_of_log(log, {}) == [{"price": 1.0, "region": "north"}, {"price": 2.0, "region": "süd"}]
    assert rows_of_log(log_of("log_prob_columns", price=[1.0, 2.0], region=["north"]), {}) == [WRONG_TENSOR]
    assert rows_of_log(log_of("log_prob", x=1.0), {}) == [WRONG_TENSOR]
    assert rows_of_log(prediction_log_pb2.PredictionLog().SerializeToString(), {}) == []


def test_nulls_are_what_they_are_spelt_as():
    log = log_of("log_prob_columns", region=["north", "<null>", "<null>"], store=np.array([1, -(2**63), 3]))
    assert rows_of_log(log, {}) == [
        {"region": "north", "store": 1},
        {"region": None, "store": None},
        {"region": None, "store": 3},
    ]


def test_a_file_that_is_no_log_is_told(score, tmp_path):
    (tmp_path / "a").write_bytes(frame(b"\xff\xff"))
    with pytest.raises(UsageError, match="cannot be read as a request log: none of its first 1 rows is of a sound"):
        score(str(tmp_path / "a"), input_format="request_log")
