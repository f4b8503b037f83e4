"""The graph in `saved_model.pb` that a server runs is ready: nothing is left to be taken apart."""

from __future__ import annotations

import pytest
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import kernels

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
FLOWS = ("nested_chain", "unconditional", "trained_here")
CHUNKS = {"MapDefun"}  # of many rows run side by side, on the processor


@pytest.fixture(params=FLOWS)
def meta_graph(request, export_here):
    content = (export_here(request.param).version_dir / "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]


def needed(graph_def, name):
    """The nodes that `name` needs."""
    nodes, found, open_names = {node.name: node for node in graph_def.node}, {}, [name]
    while open_names:
        node_name = open_names.pop().lstrip("^").partition(":")[0]
        if node_name not in found:
            found[node_name] = nodes[node_name]
            open_names += nodes[node_name].input
    return found.values()


def test_a_signature_calls_what_computes_many_rows_and_nothing_else(meta_graph):
    functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    for name, signature in meta_graph.signature_def.items():
        for output in signature.outputs.values():
            if name.startswith("__"):
                continue
            nodes = needed(meta_graph.graph_def, output.name)
            calls = [node for node in nodes if node.op in CALLS]
            assert len(calls) == 1, name
            assert functions[calls[0].attr["f"].func.name].attr["_noinline"].b
            assert not [node.name for node in nodes if node.op in {"If", "StatelessIf", "Case", "MapDefun"}]
            assert (
                name.startswith("summarize") or sum(node.op == "MatMul" for node in nodes) > 1
            )  # of few rows there is no way


def test_what_is_asked_for_by_name_is_there(meta_graph):
    names = {node.name for node in meta_graph.graph_def.node}
    for signature in meta_graph.signature_def.values():
        tensors = [*signature.inputs.values(), *signature.outputs.values()]
        assert {tensor.name.partition(":")[0] for tensor in tensors} <= names
    for tensor in (meta_graph.saver_def.filename_tensor_name, meta_graph.saver_def.save_tensor_name):
        assert tensor.partition(":")[0] in names
    assert meta_graph.saver_def.restore_op_name in names


def devices(op):
    """Where TensorFlow has a kernel for it; one for any device is there for all."""
    found = {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(op).kernel}
    return found | {"CPU", "GPU"} if "DEFAULT" in found else found


def kernels_are_known():
    """No GPU is needed to ask: TensorFlow lists the kernels that it was built with."""
    return "GPU" in devices("MatMul")


def called(graph_def, nodes):
    """The operations of the functions that `nodes` call, at any depth."""
    functions = {function.signature.name: function for function in graph_def.library.function}
    found, open_nodes = {}, list(nodes)
    while open_nodes:
        for value in open_nodes.pop().attr.values():
            for name in [value.func.name, *(each.name for each in value.list.func)]:
                if name in functions and name not in found:
                    found[name] = functions[name].node_def
                    open_nodes += functions[name].node_def
    return {node.op for nodes in found.values() for node in nodes}


@pytest.mark.parametrize("name", ["log_prob", "inverse", "forward", "sample_with_seed"])
def test_every_operation_runs_on_a_gpu_too(meta_graph, name):
    if not kernels_are_known():
        pytest.skip("this TensorFlow was built without kernels for GPUs")
    outputs = meta_graph.signature_def[name].outputs.values()
    nodes = [node for output in outputs for node in needed(meta_graph.graph_def, output.name)]
    assert {node.op for node in nodes if not {"CPU", "GPU"} <= devices(node.op)} == set()
    of_many = called(meta_graph.graph_def, nodes)
    assert {op for op in of_many if "CPU" not in devices(op)} == set()
    assert {op for op in of_many if "GPU" not in devices(op)} <= CHUNKS


def test_what_is_exported_for_a_gpu_runs_on_one_altogether(export_here):
    content = (export_here("unconditional", ("sample_with_seed",), "gpu").version_dir / "saved_model.pb").read_bytes()
    meta_graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    graph_def = meta_graph.graph_def
    definitions = [*graph_def.node, *(node for each in graph_def.library.function for node in each.node_def)]
    assert "MapDefun" not in {node.op for node in definitions}
    for name in ("log_prob", "inverse", "forward", "sample_with_seed"):
        outputs = meta_graph.signature_def[name].outputs.values()
        nodes = [node for output in outputs for node in needed(graph_def, output.name)]
        operations = {node.op for node in nodes} | called(graph_def, nodes)
        assert "MatMul" in operations
        if kernels_are_known():
            assert {op for op in operations if not {"CPU", "GPU"} <= devices(op)} == set()
