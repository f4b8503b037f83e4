"""Seeds of draws: a function of the job's seed and the row's identity, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from maf_serving.errors import UsageError
from maf_serving.row_seeds import (
    draw_seeds,
    file_names,
    is_one_input,
    row_keys,
    row_keys_in_file,
    row_keys_of_values,
)

PINNED = [-5137267319001854395, -9055334382896554780]
PINNED_IN_FILE = [8025277969184344857, -2895018320821942479, 7579385514064160331, 6171066484322680320]
PINNED_KEYS = [374798745617289366, 9792564867958037428]


def seeds(seed: int, name: str, rows, draws: int):
    rows = np.asarray(rows)
    keys = row_keys_in_file(seed, name, np.repeat(rows, draws))
    return draw_seeds(keys, np.tile(np.arange(draws), len(rows)))


def test_seeds_stay_what_they_are():
    # A release that changed them would change every table drawn before.
    assert draw_seeds(row_keys(7, [0, 1]), [0, 0]).tolist() == PINNED
    assert seeds(7, "a.parquet", [0, 1], 2).tolist() == PINNED_IN_FILE
    assert row_keys_of_values(7, ["17", "x"]).tolist() == PINNED_KEYS


def test_no_two_draws_share_a_seed():
    drawn = [seeds(seed, name, range(2_000), 50) for seed in (0, 1) for name in ("a", "b")]
    assert len(np.unique(np.concatenate(drawn))) == 4 * 2_000 * 50


def test_seeds_of_one_input_are_what_splitmix64_gives():
    # One step of SplitMix64 from state 0 is e220a8397b1dcdaf; row by row, and from there draw by draw.
    def output(state, number):
        state = (state + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        return state ^ (state >> 31)

    assert output(0, 0) == 0xE220A8397B1DCDAF
    for seed in (0, 7, -1, 2**64 - 1):
        keys = row_keys(seed, np.arange(3))
        expected = [output(output(seed, row), draw) for row in range(3) for draw in range(2)]
        found = draw_seeds(np.repeat(keys, 2), np.tile([0, 1], 3))
        assert [int(value) % 2**64 for value in found] == expected


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
@pytest.mark.parametrize(
    "keys", [lambda seed: row_keys(seed, [0]), lambda seed: row_keys_of_values(seed, ["a"])], ids=["numbers", "values"]
)
def test_a_seed_of_more_bits_is_refused(seed, keys):
    with pytest.raises(UsageError, match=f"seed is {seed}; expected an integer of 64 bits"):
        keys(seed)


def test_a_negative_seed_is_the_same_one_without_its_sign():
    np.testing.assert_array_equal(row_keys_of_values(-1, ["a"]), row_keys_of_values(2**64 - 1, ["a"]))
    np.testing.assert_array_equal(row_keys(-1, [0, 1]), row_keys(2**64 - 1, [0, 1]))


@pytest.mark.parametrize(
    ("files", "alone"),
    [
        ({"data/a.csv": "./data/a.csv"}, True),
        ({"data/a.csv": "data/*.csv"}, False),  # another one may come
        ({"a.csv": "a.csv", "b.csv": "b.csv"}, False),
    ],
)
def test_a_single_file_that_is_named_is_one_input(files, alone):
    assert is_one_input(files) == alone


def test_seeds_look_random_in_every_bit():
    bits = np.unpackbits(seeds(0, "a", range(500), 100).view(np.uint8)).reshape(-1, 64)
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=0.012)
    assert np.abs(np.corrcoef(bits.T) - np.eye(64)).max() < 0.03


def test_a_row_has_the_same_seeds_whatever_stands_beside_it():
    alone = seeds(3, "a", [41], 5)
    np.testing.assert_array_equal(seeds(3, "a", range(100), 5)[41 * 5 : 42 * 5], alone)


@pytest.mark.parametrize(
    ("path", "pattern", "name"),
    [
        ("data/a.parquet", "data/a.parquet", "a.parquet"),
        ("/mnt/x/data/a.parquet", "/mnt/x/data/*.parquet", "a.parquet"),
        ("data/2024/a.parquet", "data/*/a.parquet", "2024/a.parquet"),
        ("data/2024/07/a.parquet", "./data/20??/*/a.parquet", "2024/07/a.parquet"),
        ("a.parquet", "*.parquet", "a.parquet"),
        ("gs://bucket/data/1/a.parquet", "gs://bucket/data/[0-9]/*", "1/a.parquet"),
    ],
)
def test_a_file_is_called_the_same_wherever_its_directory_is(path, pattern, name):
    assert file_names({path: pattern}) == {path: name}


def test_files_of_one_name_are_refused():
    with pytest.raises(UsageError, match=r"a/x\.csv and b/x\.csv are both called x\.csv"):
        file_names({"a/x.csv": "a/x.csv", "b/x.csv": "b/*.csv"})
