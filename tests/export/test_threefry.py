"""Known answers from the Random123 distribution (Salmon et al. 2011), file `kat_vectors`: threefry 2x32, 20 rounds."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from export.base_sampler import split_seed, threefry2x32

KNOWN = [
    # counter, key, words
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def words(pair):
    return tuple(tf.constant(word, tf.uint32) for word in pair)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    assert tuple(int(word) for word in threefry2x32(words(key), words(counter))) == expected
    graph = tf.function(lambda: threefry2x32(words(key), words(counter)))
    assert tuple(int(word) for word in graph()) == expected


def test_broadcasts_keys_against_counters():
    keys = tf.constant([[1], [2], [3]], tf.uint32)
    counters = tf.constant([[10, 11]], tf.uint32)
    zero = tf.constant(0, tf.uint32)
    table, _ = threefry2x32((keys, zero), (counters, zero))
    assert table.shape == [3, 2]
    one, _ = threefry2x32((keys[2, 0], zero), (counters[0, 1], zero))
    assert int(table[2, 1]) == int(one)


def test_a_seed_is_two_words():
    seeds = np.array([0, 1, -1, 2**32, -(2**63), 0x0123456789ABCDEF])
    low, high = (word.numpy().astype(np.uint64) for word in split_seed(tf.constant(seeds)))
    assert ((high << np.uint64(32)) | low == seeds.astype(np.uint64)).all()
