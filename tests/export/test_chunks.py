from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from export.compiled.rows import MOST_ROWS, ChunkedFunction, in_chunks


def _function(**options):
    weight = tf.Variable(2.0)

    traces = []

    def function(x, seed):
        traces.append(x)
        return weight * x, tf.cast(seed, tf.float32) + tf.reduce_sum(x, axis=1)

    return ChunkedFunction(function, least_rows=64, **options), traces


@pytest.mark.parametrize("elsewhere", [0, 127])
@pytest.mark.parametrize("rows", [0, 1, 15, 16, 63, 64, 128, 129, MOST_ROWS, MOST_ROWS + 1, 5 * MOST_ROWS + 7])
def test_rows_come_back_in_order_whatever_their_number(rows, elsewhere):
    function, _ = _function(most_elsewhere=elsewhere)
    whole = tf.function(function, autograph=False)
    x = np.random.default_rng(rows).normal(size=[rows, 3]).astype(np.float32)
    seed = np.arange(rows, dtype=np.int64)
    doubled, sums = whole(tf.constant(x), tf.constant(seed))
    np.testing.assert_array_equal(doubled, 2 * x)
    np.testing.assert_allclose(sums, seed + x.sum(axis=1), rtol=1e-6, atol=1e-6)


def test_rows_that_are_not_to_be_split_are_computed_at_once():
    function, _ = _function()
    with in_chunks(wanted=False):
        whole = tf.function(function, autograph=False).get_concrete_function(
            tf.TensorSpec([None, 3]), tf.TensorSpec([None], tf.int64)
        )
    assert not {"MapDefun", "If", "StatelessIf"} & {operation.type for operation in whole.graph.get_operations()}
    x = np.arange(6 * MOST_ROWS, dtype=np.float32).reshape(-1, 3)
    doubled, _ = whole(tf.constant(x), tf.zeros([len(x)], tf.int64))
    np.testing.assert_array_equal(doubled, 2 * x)


@pytest.mark.parametrize(("elsewhere", "way"), [(0, "If"), (126, "If"), (127, "MapDefun")])
def test_rows_that_are_two_chunks_at_least_have_one_way(elsewhere, way):
    function, _ = _function(most_elsewhere=elsewhere)
    specs = [tf.TensorSpec([None, 3]), tf.TensorSpec([None], tf.int64)]
    whole = tf.function(function, autograph=False).get_concrete_function(*specs)
    assert {"If", "MapDefun"} & {operation.type for operation in whole.graph.get_operations()} == {way}


def test_a_function_is_traced_once_for_all_its_callers():
    function, traces = _function()
    spec = [tf.TensorSpec([None, 3]), tf.TensorSpec([None], tf.int64)]
    for _ in range(2):
        tf.function(lambda x, seed: function(x, seed)).get_concrete_function(*spec)
    assert len(traces) == 1


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core runs one chunk at a time")
def test_chunks_run_at_the_same_time():
    # each chunk waits until another one has begun: one after the other, they would wait for ever
    begun = tf.queue.FIFOQueue(2, [tf.int32])

    def meet(x):
        with tf.control_dependencies([begun.enqueue(0)]):
            count = tf.while_loop(lambda count: count < 2, lambda _: (begun.size(),), [begun.size()])[0]
        return (x + tf.cast(count - 2, x.dtype),)

    whole = tf.function(ChunkedFunction(meet, least_rows=64), autograph=False)
    x = np.ones([2 * MOST_ROWS, 1], np.float32)
    (same,) = whole(tf.constant(x))
    np.testing.assert_array_equal(same, x)
