"""Threefry 2x32 with 20 rounds: random bits as a function of a key and a counter, in plain TensorFlow ops.

Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The bits of one row depend on its
own key alone, whatever the batch; `tf.random.stateless_*` takes one seed for a whole batch.
"""

from __future__ import annotations

import tensorflow as tf

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry2x32(key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """The two random words of `counter` under `key`.

    About 120 elementwise ops on the broadcast shape of key and counter.

    Args:
      key: two uint32 words, shapes that broadcast with the counter's.
      counter: two uint32 words.

    Returns:
      Two uint32 words.
    """
    keys = (*key, tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(*key), tf.constant(_PARITY, tf.uint32)))
    word0, word1 = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            word0 += word1
            word1 = tf.bitwise.bitwise_xor(_rotate_left(word1, rotation), word0)
        word0 += keys[(group + 1) % 3]
        word1 += keys[(group + 2) % 3] + tf.constant(group + 1, tf.uint32)
    return word0, word1


def split_seed(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The two words, uint32 `[B]` each, of an int64 `seed` `[B]`: a key of its own for every seed, low word first."""
    words = tf.bitcast(seed, tf.uint32)  # [B, 2]
    return words[:, 0], words[:, 1]


def _rotate_left(word: tf.Tensor, bits: int) -> tf.Tensor:
    left = tf.bitwise.left_shift(word, tf.constant(bits, tf.uint32))
    return tf.bitwise.bitwise_or(left, tf.bitwise.right_shift(word, tf.constant(32 - bits, tf.uint32)))
