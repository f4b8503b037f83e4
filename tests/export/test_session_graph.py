"""Signatures that come of others are in a session's graph no more than their own two ends."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export import read_contract

SHARED = {
    "log_prob": "inverse",
    "serving_default": "inverse",
    "sample": "sample_with_seed",
    "log_prob_columns": "inverse",
    "sample_columns": "sample_with_seed",
    "summarize_columns": "summarize",
}


@pytest.fixture
def meta_graph(exported):
    saved_model = saved_model_pb2.SavedModel.FromString((exported.version_dir / "saved_model.pb").read_bytes())
    return saved_model.meta_graphs[0]


@pytest.mark.parametrize("name", SHARED)
def test_what_is_the_same_is_the_same_tensor(exported, meta_graph, name):
    contract = read_contract(exported.version_dir)
    if not {name, SHARED[name]} <= contract.signatures.keys():
        pytest.skip(f"this version has no {name}")
    own, other = meta_graph.signature_def[name], meta_graph.signature_def[SHARED[name]]
    for key in own.inputs.keys() & other.inputs.keys():
        assert own.inputs[key] == other.inputs[key]
    shared = own.outputs.keys() & other.outputs.keys()
    assert shared
    for key in shared:
        assert own.outputs[key] == other.outputs[key]


def test_conditional_cdf_is_of_what_inverse_computes(exported, meta_graph):
    """Of one event column there is none."""
    definitions = meta_graph.signature_def
    assert ("conditional_cdf" in definitions) == (exported.event_size > 1)
    if exported.event_size > 1:
        assert dict(definitions["conditional_cdf"].inputs) == dict(definitions["inverse"].inputs)


def test_nobody_finds_the_ends_among_the_signatures(exported, meta_graph):
    names = read_contract(exported.version_dir).signatures.keys()
    assert meta_graph.signature_def.keys() - {"__saved_model_init_op"} == names
    assert set(tf.saved_model.load(str(exported.version_dir)).signatures) == set(names)


def test_the_graph_has_no_node_that_nobody_reads(meta_graph):
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    for node in nodes.values():
        assert {name.lstrip("^").partition(":")[0] for name in node.input} <= nodes.keys()
    fed = {info.name for each in meta_graph.signature_def.values() for info in each.inputs.values()}
    placeholders = {node.name for node in nodes.values() if node.op == "Placeholder"}
    assert {f"{name}:0" for name in placeholders} - {meta_graph.saver_def.filename_tensor_name} <= fed


def test_seeds_that_are_not_fed_are_new(exported):
    contract = read_contract(exported.version_dir)
    if "sample" not in contract.signatures:
        pytest.skip("this version has no sample")
    condition = np.zeros((3, contract.condition_size), contract.dtype)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(exported.version_dir)).signature_def
        sample, seeded = loaded["sample"], loaded["sample_with_seed"]
        feeds = {sample.inputs["conditional_input"].name: condition}
        first, second = (session.run(sample.outputs["x"].name, feeds) for _ in range(2))
        assert not (first == second).any()
        seeds = {seeded.inputs["seed"].name: np.full(3, 5)}
        first, second = (session.run(seeded.outputs["x"].name, feeds | seeds) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, np.broadcast_to(first[:1], first.shape))
