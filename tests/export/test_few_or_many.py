"""Few rows and many go different ways through an exported graph, and nobody can tell."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

MANY = 700  # more than any flow takes for few


def part(inputs, rows):
    return {name: value[rows] for name, value in inputs.items()}


def test_rows_are_the_same_in_a_large_batch_and_in_a_small_one(exported):
    inputs = exported.condition(MANY, seed=0)
    seed = tf.range(MANY, dtype=tf.int64)
    signatures = exported.loaded.signatures
    draws = signatures["sample_with_seed"](**inputs, seed=seed)
    scored = signatures["inverse"](**inputs, x=draws["x"])
    again = signatures["forward"](**inputs, z=scored["z"])
    few = slice(600, 616)
    of_few = part(inputs, few)
    for name, whole, came in (
        ("draws", draws, signatures["sample_with_seed"](**of_few, seed=seed[few])),
        ("scored", scored, signatures["inverse"](**of_few, x=draws["x"][few])),
        ("again", again, signatures["forward"](**of_few, z=scored["z"][few])),
    ):
        for key, value in came.items():
            np.testing.assert_allclose(value, whole[key][few], rtol=2e-3, atol=2e-3, err_msg=f"{name} {key}")


@pytest.mark.parametrize("rows", [5, MANY])
def test_a_row_that_is_not_finite_is_alone_in_a_batch_of_any_size(export_here, rows):
    exported = export_here("nested_chain")
    rng = np.random.default_rng(0)
    x, c = (rng.normal(size=(rows, size)).astype(np.float32) for size in (3, 2))
    log_prob = exported.loaded.signatures["log_prob"]
    right = log_prob(x=tf.constant(x), conditional_input=tf.constant(c))["log_prob"].numpy()
    x[1, 2], c[3, 0] = np.inf, np.nan
    came = log_prob(x=tf.constant(x), conditional_input=tf.constant(c))["log_prob"].numpy()
    assert np.flatnonzero(np.isnan(came)).tolist() == [1, 3]
    others = np.setdiff1d(np.arange(rows), [1, 3])
    np.testing.assert_array_equal(came[others], right[others])


@pytest.mark.parametrize("counts", [(MANY, 1), (1, MANY), (MANY, MANY - 1)])
def test_row_counts_that_differ_are_refused_however_many_they_are(export_here, counts):
    log_prob = export_here("nested_chain").loaded.signatures["log_prob"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="x and conditional_input must have the same number"):
        log_prob(x=tf.zeros([counts[0], 3]), conditional_input=tf.zeros([counts[1], 2]))


def test_no_rows_are_no_answers(exported):
    inputs = exported.condition(0, seed=0)
    x = tf.zeros([0, exported.event_size], exported.distribution.dtype)
    assert exported.loaded.signatures["inverse"](x=x, **inputs)["z"].shape == [0, exported.event_size]
