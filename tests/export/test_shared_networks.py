from __future__ import annotations

import pytest

from export.compiled import compile_density
from export.compiled.blocks import LoopedBlocks, UnrolledBlocks
from export.compiled.compile_density import SharedNetworks
from export.compiled.conditioner import read_conditioner
from maf import create_named_maf


def conditioner(**options):
    return read_conditioner(create_named_maf("layer", [16, 12], **{"event_size": 6, "condition_size": 2, **options}))


def test_layers_of_one_shape_share_their_functions():
    networks = SharedNetworks()
    layout, functions = networks.find(conditioner())
    other_layout, other_functions = networks.find(conditioner(input_order="right-to-left"))
    assert other_functions is functions
    assert (other_layout.columns != layout.columns).any()


@pytest.mark.parametrize("options", [{"activation": "relu"}, {"condition_size": 0}, {"event_size": 7}])
def test_layers_of_another_shape_do_not(options):
    networks = SharedNetworks()
    _, functions = networks.find(conditioner())
    assert networks.find(conditioner(**options))[1] is not functions


def test_networks_that_are_too_many_to_unroll_loop(monkeypatch):
    monkeypatch.setattr(compile_density, "MOST_UNROLLED_COLUMNS", 12)
    networks = SharedNetworks()
    solvers = [networks.find(conditioner(activation=name))[1].graph.solver for name in ("relu", "relu", "tanh", "elu")]
    assert [type(solver) for solver in solvers] == [UnrolledBlocks, UnrolledBlocks, UnrolledBlocks, LoopedBlocks]
