import numpy as np
import pytest

from serving_config.client.row_seeds import row_seeds
from serving_config.errors import InputError


def test_seeds_differ_between_rows_draws_and_seeds():
    rows, draws = np.arange(100)[None, :], np.arange(50)[:, None]
    both = np.concatenate([row_seeds(seed, rows, draws).ravel() for seed in (0, 1, -1)])
    assert both.dtype == np.int64
    assert len(np.unique(both)) == 3 * 5000


def test_a_part_has_the_seeds_of_the_whole():
    whole = row_seeds(7, np.arange(10), 3)
    np.testing.assert_array_equal(row_seeds(7, np.arange(4, 6), 3), whole[4:6])


def test_seeds_are_what_splitmix64_gives():
    # One step of SplitMix64 from state 0 is e220a8397b1dcdaf; the second is one step from there.
    def step(state):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        return state ^ (state >> 31)

    assert step(0) == 0xE220A8397B1DCDAF
    assert int(row_seeds(0, 0, 0)) % 2**64 == step(step(0))


def test_a_seed_of_more_bits_is_refused():
    with pytest.raises(InputError, match="64 bits"):
        row_seeds(2**64, 0, 0)
