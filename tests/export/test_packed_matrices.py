from __future__ import annotations

import numpy as np
import tensorflow as tf

from export.compiled.layout import PackedMatrices


def test_matrices_come_back_as_they_were():
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=shape) for shape in [(3, 5), (16, 4), (1, 1), (0, 7), (7, 0), (40, 33)]]
    layout = PackedMatrices(tuple(matrix.shape for matrix in matrices))
    read = tf.function(layout.read)(tf.constant(layout.pack(matrices)))
    assert len(read) == len(matrices)
    for matrix, came in zip(matrices, read, strict=True):
        np.testing.assert_array_equal(came, matrix)
