from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from export.compiled.chunks import MOST_ROWS, map_chunks


def _function():
    weight = tf.Variable(2.0)

    @tf.function(autograph=False)
    def function(x, seed):
        return weight * x, tf.cast(seed, tf.float32) + tf.reduce_sum(x, axis=1)

    return function


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 63, 64, 128, 129, MOST_ROWS, MOST_ROWS + 1, 5 * MOST_ROWS + 7])
def test_rows_come_back_in_order_whatever_their_number(rows):
    function = _function()
    whole = tf.function(lambda x, seed: map_chunks(function, [x, seed]), autograph=False)
    x = np.random.default_rng(rows).normal(size=[rows, 3]).astype(np.float32)
    seed = np.arange(rows, dtype=np.int64)
    doubled, sums = whole(tf.constant(x), tf.constant(seed))
    np.testing.assert_array_equal(doubled, 2 * x)
    np.testing.assert_allclose(sums, seed + x.sum(axis=1), rtol=1e-6, atol=1e-6)


def test_a_function_is_traced_once_for_all_its_callers():
    function = _function()
    spec = [tf.TensorSpec([None, 3]), tf.TensorSpec([None], tf.int64)]
    for _ in range(2):
        tf.function(lambda x, seed: map_chunks(function, [x, seed])).get_concrete_function(*spec)
    assert function.experimental_get_tracing_count() == 1


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core runs one chunk at a time")
def test_chunks_run_at_the_same_time():
    # each chunk waits until another one has begun: one after the other, they would wait for ever
    begun = tf.queue.FIFOQueue(2, [tf.int32])

    @tf.function(autograph=False)
    def meet(x):
        with tf.control_dependencies([begun.enqueue(0)]):
            count = tf.while_loop(lambda count: count < 2, lambda _: (begun.size(),), [begun.size()])[0]
        return (x + tf.cast(count - 2, x.dtype),)

    whole = tf.function(lambda x: map_chunks(meet, [x]), autograph=False)
    x = np.ones([2 * MOST_ROWS, 1], np.float32)
    (same,) = whole(tf.constant(x))
    np.testing.assert_array_equal(same, x)
