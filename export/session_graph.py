"""The graph of a version that sessions run, TensorFlow Serving's among them.

`tf.saved_model.save` gives every signature inputs and a call of its own. A session takes the whole graph to pieces for
each signature that it is first asked for. So here signatures share what they have in common (`export/derivations.py`),
and calls become what they call.

    made_for_sample(conditional_input) ---> seed --+
                           conditional_input ------+--> sample_with_seed --> x, log_prob
                                                                             x --> made_of_sample_columns --> columns

An input that can be made of others is a placeholder with that as its default: it is not computed where it is fed.
`tf.saved_model.load` reads none of this: it has every signature as a function, from the library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2
from tensorflow.python.grappler import tf_optimizer  # no public function rewrites a graph
from tensorflow.python.saved_model import fingerprinting_utils  # no public function writes a fingerprint

from export.derivations import MADE_FOR, MADE_OF, Derivation
from export.signatures import INIT_OP

if TYPE_CHECKING:
    from tensorflow.core.framework import node_def_pb2

    from export.contract import Contract

_REWRITES = ("pruning", "function", "common_subgraph_elimination", "constfold", "dependency")
_SIGNATURES = "signatures"  # of the object that was saved, its signatures by name


def prepare_graph(version_dir: Path, contract: Contract, derivations: Mapping[str, Derivation]) -> None:
    """Rewrites `saved_model.pb` of a version that was just saved, with the ends of its derived signatures.

    Every signature gets its contract's method name: `tf.saved_model.save` writes that of Predict for all. Of the graph
    constants are folded, equal operations are one, and what is left of the library is what may not be inlined. Nothing
    that depends on the machine is decided here: the server fuses and places.
    """
    path = version_dir / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        _flatten(meta_graph, meta_graph.signature_def.keys() - derivations.keys())
        _share(meta_graph, derivations)
        _forget(meta_graph, meta_graph.signature_def.keys() - contract.signatures.keys() - {INIT_OP})
        for name, signature in contract.signatures.items():
            meta_graph.signature_def[name].method_name = signature.method_name
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(version_dir))  # of what is in the file now


def _share(meta_graph: meta_graph_pb2.MetaGraphDef, derivations: Mapping[str, Derivation]) -> None:
    """Gives derived signatures the tensors of those they come of, and their two ends."""
    definitions = meta_graph.signature_def
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    instead: dict[str, str] = {}  # by tensor that is fed no more, what to read
    unread: set[str] = set()
    for name, derivation in derivations.items():
        own, core = definitions[name], definitions[derivation.core]
        before = definitions[MADE_FOR.format(name)]  # a protobuf map: empty where there is none
        after = definitions[MADE_OF.format(name)]
        instead |= {info.name: core.inputs[each].name for each, info in before.inputs.items() if each in core.inputs}
        instead |= {info.name: core.outputs[each].name for each, info in after.inputs.items()}
        for each, info in before.outputs.items():
            _set_default(nodes[_node_name(core.inputs[each].name)], info.name)
        unread |= {info.name for info in own.inputs.values()}
        for each, info in own.inputs.items():
            info.CopyFrom(core.inputs[each] if each in core.inputs else before.inputs[each])
        for each, info in own.outputs.items():
            info.CopyFrom(core.outputs[each] if each in core.outputs else after.outputs[each])
    for tensor in unread | instead.keys():
        nodes.pop(_node_name(tensor), None)
    for node in nodes.values():
        node.input[:] = [instead.get(_tensor_name(name), name) for name in node.input]
    del meta_graph.graph_def.node[:]
    meta_graph.graph_def.node.extend(nodes.values())


def _set_default(node: node_def_pb2.NodeDef, tensor: str) -> None:
    """Makes a placeholder one that need not be fed."""
    node.op = "PlaceholderWithDefault"
    node.input.append(tensor)


def _tensor_name(name: str) -> str:
    """Of a node's input, as signatures have it: `node` is the first output."""
    return name if ":" in name or name.startswith("^") else f"{name}:0"


def _node_name(tensor: str) -> str:
    return tensor.partition(":")[0]


def _forget(meta_graph: meta_graph_pb2.MetaGraphDef, names: Iterable[str]) -> None:
    """Takes signatures out of what sessions and `tf.saved_model.load` find."""
    wanted = set(names)
    for name in wanted:
        del meta_graph.signature_def[name]
    objects = meta_graph.object_graph_def.nodes
    found = next(child.node_id for child in objects[0].children if child.local_name == _SIGNATURES)
    kept = [child for child in objects[found].children if child.local_name not in wanted]
    del objects[found].children[:]
    objects[found].children.extend(kept)


def _flatten(meta_graph: meta_graph_pb2.MetaGraphDef, names: Iterable[str]) -> None:
    """Inlines the functions that these signatures call, and leaves out what is for others."""
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.min_graph_nodes = -1  # however small it is
    rewriting.meta_optimizer_iterations = rewriting.ONE
    rewriting.optimizers.extend(_REWRITES)
    wanted = meta_graph_pb2.MetaGraphDef()
    wanted.CopyFrom(meta_graph)
    for name in meta_graph.signature_def.keys() - set(names):
        del wanted.signature_def[name]
    wanted.collection_def["train_op"].node_list.value.extend(_asked_for(wanted))
    flat = tf_optimizer.OptimizeGraph(config, wanted)
    flat.library.CopyFrom(meta_graph.graph_def.library)
    flat.versions.CopyFrom(meta_graph.graph_def.versions)
    meta_graph.graph_def.CopyFrom(flat)


def _asked_for(meta_graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    """What must stay, because somebody has its name: signatures, saver, initialisation, and constants of objects."""
    definitions, saver = meta_graph.signature_def.values(), meta_graph.saver_def
    tensors = [info.name for each in definitions for info in (*each.inputs.values(), *each.outputs.values())]
    main = meta_graph.collection_def["saved_model_main_op"].node_list.value
    constants = [node.constant.operation for node in meta_graph.object_graph_def.nodes if node.HasField("constant")]
    of_saver = [saver.restore_op_name, saver.save_tensor_name, saver.filename_tensor_name]
    return sorted({name for name in (*tensors, *main, *constants, *of_saver) if name})
