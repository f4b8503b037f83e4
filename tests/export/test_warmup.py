"""Warm-up records hold what a server can answer, and one that it cannot stops the export."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from export import OptionError, VerificationError, read_contract
from export import saved_model as saved_model_module
from export.contract import WARM
from export.signatures import (
    WARMUP_PATH,
    Request,
    check_batch_sizes,
    read_warmup,
    warm_signatures,
    warmup_requests,
    write_warmup,
)
from export.verification.comparison import LiveModel
from export.verification.inputs import TYPICAL_ROWS, VerificationInputs, draw_inputs
from export.verification.replay import answer_object, answer_session, replay
from maf_serving.batching import BatchingParameters


@pytest.fixture
def version(export_here, tmp_path):
    """A copy to write other records to."""
    return shutil.copytree(export_here("nested_chain").version_dir, tmp_path / "version")


def records(version_dir):
    path = str(version_dir / WARMUP_PATH)
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator()
    ]


def test_an_export_holds_one_record_for_every_signature(exported):
    """As TF Serving reads them: the kind of log by the signature's method, its name in the model spec."""
    contract = read_contract(exported.version_dir)
    names = []
    for log in records(exported.version_dir):
        kind = log.WhichOneof("log_type")
        request = getattr(log, kind).request
        names.append(request.model_spec.signature_name)
        if kind == "regress_log":
            assert names[-1] == "regress"
            assert len(request.input.example_list.examples) == 1
        else:
            inputs = contract.signature(names[-1]).inputs
            assert {
                key: (tf.as_dtype(t.dtype).name, [d.size for d in t.tensor_shape.dim])
                for key, t in request.inputs.items()
            } == {key: (spec.dtype, [1, *spec.shape[1:]]) for key, spec in inputs.items()}
    assert names == list(contract.signatures)


def test_both_loaders_answer_every_record_with_finite_values(exported):
    requests = read_warmup(exported.version_dir)
    version_dir = str(exported.version_dir)
    replies = answer_object(version_dir, requests) | answer_session(version_dir, requests)
    signatures = read_contract(exported.version_dir).signatures
    outputs = sum(len(signature.outputs) for signature in signatures.values())
    assert len(replies) == 2 * outputs
    for value in replies.values():
        assert len(value) == 1
        assert np.isfinite(value).all()


def test_batch_sizes_and_round_trip(export_here, version):
    exported = export_here("nested_chain")
    contract = read_contract(version)
    inputs = draw_inputs(LiveModel(exported.distribution), contract, seed=1)
    requests = warmup_requests(contract, inputs, (3, 200), warm_signatures(contract, None))
    write_warmup(version, contract, requests)
    read = read_warmup(version)
    assert [r.signature for r in read] == 2 * list(contract.signatures)
    for sent, received in zip(requests, read, strict=True):
        assert sent.signature == received.signature
        assert sent.inputs.keys() == received.inputs.keys()
        for name, value in sent.inputs.items():
            assert len(value) == (3 if read.index(received) < len(contract.signatures) else 200)
            np.testing.assert_array_equal(value, received.inputs[name])


def test_rows_that_are_not_finite_are_left_out():
    x = np.arange(192.0)[:, np.newaxis]
    x[:TYPICAL_ROWS:2] = np.inf
    typical = VerificationInputs({"x": x, "seed": np.arange(192)}).typical(100)
    assert np.isfinite(typical.arrays["x"]).all()
    assert typical.arrays["x"].max() < TYPICAL_ROWS
    np.testing.assert_array_equal(typical.arrays["x"][:, 0], typical.arrays["seed"])


BAD = {
    "too narrow": Request("bad", "log_prob", {"x": np.ones([1, 2], np.float32)}),
    "no such signature": Request("bad", "classify", {"x": np.ones([1, 3], np.float32)}),
    "no Example of this model": Request("bad", "regress", {"inputs": np.array([b""], object)}),
}


def test_the_fresh_process_replays_the_records(version):
    assert replay(version, []).arrays == {}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_record_is_found_by_the_fresh_process(version, bad):
    contract = read_contract(version)
    request = BAD[bad]
    known = {**contract.signatures, "classify": contract.signature("log_prob")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(contract), "signature", lambda _, name: known[name])
        write_warmup(version, contract, [request])
    with pytest.raises(VerificationError, match=f"request 'warm-up record 0' of signature '{request.signature}'"):
        replay(version, [])


def test_no_sizes_make_no_file(export_here, tmp_path):
    contract = read_contract(export_here("nested_chain").version_dir)
    write_warmup(tmp_path, contract, [])
    assert not list(tmp_path.iterdir())
    assert read_warmup(tmp_path) == []


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((1, 0), "warmup_batch_sizes is 1, 0; expected different numbers of rows, each at least 1"),
        ((2, 2), "warmup_batch_sizes is 2, 2; expected different"),
        (tuple(range(1, 335)), "334 sizes for 3 signatures, which makes 1002 records; TF Serving takes 1000: name 333"),
    ],
)
def test_refused_sizes(make_flow, tmp_path, sizes, message):
    """Before anything is traced or written."""
    check_batch_sizes(tuple(range(1, 334)), WARM, None)
    with pytest.raises(OptionError, match=message):
        check_batch_sizes(sizes, WARM, None)
    with pytest.raises(OptionError, match=message):
        saved_model_module.export_saved_model(
            make_flow("nested_chain"),
            tmp_path,
            event_columns=["x0", "x1", "x2"],
            conditional_columns=["c0", "c1"],
            warmup_batch_sizes=sizes,
        )
    assert not [entry for entry in tmp_path.iterdir() if entry.name != ".lock"]


def test_a_warm_up_beyond_the_largest_batch_is_refused():
    check_batch_sizes((1, 8), WARM, BatchingParameters(max_batch_size=8))
    with pytest.raises(OptionError, match="warmup_batch_sizes is 1, 9 and max_batch_size is 8; a server refuses"):
        check_batch_sizes((1, 9), WARM, BatchingParameters(max_batch_size=8))


def test_which_signatures_are_warm(export_here):
    contract = read_contract(export_here("unconditional").version_dir)
    assert warm_signatures(contract, None) == list(contract.signatures)
    assert warm_signatures(contract, ("forward", "inverse")) == ["inverse", "forward"]
    assert warm_signatures(contract, ()) == []
    without = dataclasses.replace(contract, signatures={"log_prob": contract.signature("log_prob")})
    assert warm_signatures(without, WARM) == ["log_prob"]
    with pytest.raises(OptionError, match="warmup_signatures names 'quantile'; expected some of log_prob, serving_def"):
        warm_signatures(contract, ("quantile",))
