"""What `saved_model.pb` says of the signatures is what the contract says."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from export import VerificationError, read_contract
from export.contract import PREDICT_METHOD_NAME, REGRESS_METHOD_NAME, TensorSpec
from export.session_graph import prepare_graph
from export.signatures import check_signature_defs


@pytest.fixture
def version(export_here, tmp_path):
    """A copy to damage."""
    return shutil.copytree(export_here("unconditional").version_dir, tmp_path / "version")


def saved_model(version_dir):
    return saved_model_pb2.SavedModel.FromString((version_dir / "saved_model.pb").read_bytes())


def test_method_names_of_an_exported_version(exported):
    (meta_graph,) = saved_model(exported.version_dir).meta_graphs
    contract = read_contract(exported.version_dir)
    methods = {name: meta_graph.signature_def[name].method_name for name in contract.signatures}
    assert methods.pop("regress") == REGRESS_METHOD_NAME == "tensorflow/serving/regress"
    assert set(methods.values()) == {PREDICT_METHOD_NAME}
    assert set(meta_graph.signature_def["regress"].inputs) == {"inputs"}
    assert set(meta_graph.signature_def["regress"].outputs) == {"outputs"}
    check_signature_defs(exported.version_dir, contract)


def test_serving_default_is_log_prob_to_the_tensor(exported):
    """A server prepares a graph for each set of tensors."""
    (meta_graph,) = saved_model(exported.version_dir).meta_graphs
    assert meta_graph.signature_def["serving_default"] == meta_graph.signature_def["log_prob"]


def test_the_fingerprint_is_that_of_the_file_as_it_is(version):
    """It is written after the last change of the file, and another change gives another."""
    contract = read_contract(version)
    before = tf.saved_model.experimental.read_fingerprint(str(version))
    fingerprinting_utils.write_fingerprint(str(version))
    assert tf.saved_model.experimental.read_fingerprint(str(version)) == before
    regress = dataclasses.replace(contract.signature("regress"), method_name=PREDICT_METHOD_NAME)
    prepare_graph(version, dataclasses.replace(contract, signatures={**contract.signatures, "regress": regress}), {})
    after = tf.saved_model.experimental.read_fingerprint(str(version))
    assert after.signature_def_hash != before.signature_def_hash


def change_method(meta_graph):
    meta_graph.signature_def["regress"].method_name = PREDICT_METHOD_NAME


def drop_signature(meta_graph):
    del meta_graph.signature_def["forward"]


def rename_output(meta_graph):
    outputs = meta_graph.signature_def["log_prob"].outputs
    outputs["density"].CopyFrom(outputs["log_prob"])
    del outputs["log_prob"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_method, "signature 'regress' is .*serving/predict.*; its contract says .*serving/regress"),
        (
            drop_signature,
            r"has the signatures conditional_cdf, inverse, .*; its contract says .*forward, inverse",
        ),
        (rename_output, "signature 'log_prob' is .*density"),
    ],
)
def test_what_differs_from_the_contract_is_found(version, change, message):
    stated = saved_model(version)
    change(stated.meta_graphs[0])
    (version / "saved_model.pb").write_bytes(stated.SerializeToString())
    with pytest.raises(VerificationError, match=message):
        check_signature_defs(version, read_contract(version))


def test_another_width_and_a_damaged_file_are_found(version):
    contract = read_contract(version)
    log_prob = dataclasses.replace(contract.signature("log_prob"), inputs={"x": TensorSpec("float32", (None, 3))})
    wider = dataclasses.replace(contract, signatures={**contract.signatures, "log_prob": log_prob})
    with pytest.raises(VerificationError, match="signature 'log_prob'"):
        check_signature_defs(version, wider)
    (version / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(VerificationError, match=r"saved_model\.pb cannot be read"):
        check_signature_defs(version, contract)
