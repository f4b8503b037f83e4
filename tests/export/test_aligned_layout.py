import numpy as np
import pytest
import tensorflow as tf

from export.compiled.conditioner import DenseWeights, NetworkWeights
from export.compiled.layout import PackedMatrices, align, lacking_rows, sort_by_step
from export.compiled.rows import join, part, rows, split


def masked(rng, waits_in, waits_out, *, strictly):
    free = waits_in[:, np.newaxis] < waits_out if strictly else waits_in[:, np.newaxis] <= waits_out
    return rng.normal(size=free.shape) * free


def network(columns, units, condition_size):
    rng = np.random.default_rng(columns)
    degrees = np.arange(1, columns + 1)
    waits = np.sort(rng.integers(0, columns, size=units))
    condition = rng.normal(size=(condition_size, units)) if condition_size else None
    layers = (
        DenseWeights(masked(rng, degrees, waits, strictly=False), condition, rng.normal(size=units)),
        DenseWeights(masked(rng, waits, np.repeat(degrees, 2), strictly=True), None, rng.normal(size=2 * columns)),
    )
    return NetworkWeights(layers, tf.nn.relu, degrees, 2)


def evaluate(layout, x, condition):
    """The network's output by its sorted kernels, headers filled up as they say."""
    units = x
    for layer in (*layout.hidden, layout.output):
        header = [np.ones((1, len(x[0]))), *([condition] if layer.sees_condition else [])]
        header.append(np.zeros((layer.header - sum(map(len, header)), len(x[0]))))
        units = layer.kernel.T @ np.concatenate([*header, units])
        if layer is not layout.output:
            units = np.maximum(units, 0)
    return units


@pytest.mark.parametrize(("columns", "units", "condition_size"), [(1, 5, 2), (6, 13, 0), (9, 31, 4), (20, 64, 1)])
def test_the_same_network_in_multiples_of_four(columns, units, condition_size):
    layout = sort_by_step(network(columns, units, condition_size), block_size=4)
    aligned = align(layout)
    rng = np.random.default_rng(0)
    x, condition = rng.normal(size=(columns, 7)), rng.normal(size=(condition_size, 7))
    np.testing.assert_allclose(evaluate(aligned, x, condition), evaluate(layout, x, condition), rtol=1e-12, atol=1e-12)
    for layer in (*aligned.hidden, aligned.output):
        assert layer.header % 4 == 0
    for first, last in aligned.blocks:
        block = aligned.hidden[0].units_between(first, last)
        assert (block.stop - block.start) % 4 == 0
        before = layout.hidden[0].units_between(first, last)
        assert 0 <= (block.stop - block.start) - (before.stop - before.start) < 4


def test_lacking_rows():
    assert [lacking_rows(rows) for rows in (1, 4, 17)] == [3, 0, 3]


def test_matrices_are_read_in_two():
    rng = np.random.default_rng(0)
    shapes, first_rows = [(8, 4), (5, 3), (20, 8), (4, 0), (6, 5)], [4, 2, 20, 1, 0]
    matrices = [rng.normal(size=shape) for shape in shapes]
    layout = PackedMatrices(tuple(shapes))
    packed = tf.constant(layout.pack(matrices))
    read = tf.function(lambda: layout.read_in_two(packed, first_rows), autograph=False)()
    for matrix, first, (head, rest) in zip(matrices, first_rows, read, strict=True):
        np.testing.assert_array_equal(head, matrix[:first])
        np.testing.assert_array_equal(rest, matrix[first:])


def test_rows_share_their_constants_within_a_graph():
    def cut(tensor):
        pieces = split(tensor, [1, 2, 3])
        loop = tf.while_loop(
            lambda i, _: i < 2, lambda i, t: (i + 1, join([rows(t, 1, 6), rows(t, 0, 1)])), (0, tensor)
        )
        return [rows(tensor, 1, 3), part(tensor, 4, slice(1, 2)), join(pieces[::-1]), rows(tensor, 1, 3), loop[1]]

    tensor = np.arange(12.0).reshape(6, 2)
    for run in (cut, tf.function(cut, autograph=False)):
        first, inner, turned, again, rolled = run(tf.constant(tensor))
        np.testing.assert_array_equal(first, tensor[1:3])
        np.testing.assert_array_equal(again, tensor[1:3])
        np.testing.assert_array_equal(inner, tensor[:4, 1:2])
        np.testing.assert_array_equal(turned, tensor[[3, 4, 5, 1, 2, 0]])
        np.testing.assert_array_equal(rolled, np.roll(tensor, -2, axis=0))
    graph = tf.function(lambda t: [rows(t, 1, 3), rows(t, 1, 4)], autograph=False)
    operations = graph.get_concrete_function(tf.TensorSpec([6, 2])).graph.get_operations()
    values = [str(tf.get_static_value(o.outputs[0])) for o in operations if o.type == "Const"]
    assert len(values) == len(set(values))
