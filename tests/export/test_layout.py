import numpy as np
import pytest
import tensorflow as tf

from export.compiled.conditioner import DenseWeights, NetworkWeights
from export.compiled.layout import sort_by_step
from export.errors import CompileError


def dense(kernel, condition=None):
    kernel = np.array(kernel, float)
    bias = 10.0 + np.arange(kernel.shape[1])
    return DenseWeights(kernel, None if condition is None else np.array(condition, float), bias)


def network(*layers, degrees=(2, 1), num_parameters=1):
    return NetworkWeights(tuple(layers), tf.nn.relu, np.array(degrees), num_parameters)


def test_units_are_sorted_by_what_they_wait_for():
    # columns x0 (degree 2), x1 (degree 1); units wait for x0, nothing, x1
    layout = sort_by_step(
        network(dense([[1, 0, 0], [0, 0, 2]], [[7, 8, 9]]), dense([[0, 0], [5, 0], [6, 0]])), block_size=4
    )
    np.testing.assert_array_equal(layout.columns, [1, 0])
    (hidden,) = layout.hidden
    # the unit that waits for the last column is dead; rows: bias, condition, x1, x0
    np.testing.assert_array_equal(hidden.kernel, [[11, 12], [8, 9], [0, 2], [0, 0]])
    np.testing.assert_array_equal(hidden.unit_steps, [0, 1])
    assert (hidden.header, hidden.sees_condition) == (2, True)
    # outputs in the order of the columns: x1 sees nothing, x0 sees the unit of step 0 and that of step 1
    np.testing.assert_array_equal(layout.output.kernel, [[11, 10], [0, 5], [0, 6]])
    assert (layout.output.header, layout.output.sees_condition) == (1, False)
    assert layout.blocks == ((0, 0), (1, 2))


def test_prefixes_and_blocks():
    hidden = dense(np.triu(np.ones((4, 4))))
    layout = sort_by_step(network(hidden, dense(np.triu(np.ones((4, 4)), 1)), degrees=(1, 2, 3, 4)), block_size=2)
    assert layout.blocks == ((1, 2), (3, 4))
    (layer,) = layout.hidden
    assert [layer.inputs_until(step) for step in range(5)] == [1, 2, 3, 4, 5]
    assert [layer.units_between(1, 2), layer.units_between(3, 4)] == [slice(0, 2), slice(2, 3)]


def test_a_network_that_sees_its_own_column_is_refused():
    with pytest.raises(CompileError, match="not autoregressive"):
        sort_by_step(network(dense([[0, 0], [0, 1]])), block_size=4)
