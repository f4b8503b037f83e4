import numpy as np
import pytest

from maf.fitting import minibatches, steps_per_epoch


def rows(n):
    return np.arange(2 * n, dtype=np.float32).reshape(n, 2)


def firsts(batches):
    return np.concatenate([batch[:, 0] for batch in batches]) / 2


@pytest.mark.parametrize("window_bytes", [1, 300_000, 2**26], ids=["block by block", "some blocks", "all at once"])
@pytest.mark.parametrize("n", [100, 20_000, 50_001])
def test_an_epoch_has_each_row_at_most_once_and_misses_less_than_a_batch(n, window_bytes):
    batches = list(minibatches(rows(n), batch_size=64, seed=0, epoch=0, window_bytes=window_bytes))
    assert len(batches) == steps_per_epoch(n, 64)
    assert {len(batch) for batch in batches} == {64}
    seen = firsts(batches)
    assert len(np.unique(seen)) == len(seen) > n - 64
    assert np.isin(seen, np.arange(n)).all()


def test_epochs_and_seeds_differ_and_repeat():
    first = firsts(minibatches(rows(5_000), batch_size=100, seed=1, epoch=0))
    np.testing.assert_array_equal(first, firsts(minibatches(rows(5_000), batch_size=100, seed=1, epoch=0)))
    assert not np.array_equal(first, firsts(minibatches(rows(5_000), batch_size=100, seed=1, epoch=1)))
    assert not np.array_equal(first, firsts(minibatches(rows(5_000), batch_size=100, seed=2, epoch=0)))
    assert abs(np.corrcoef(first, np.arange(len(first)))[0, 1]) < 0.1


@pytest.mark.parametrize("first_step", [0, 1, 129, 300, 390])
def test_skipped_steps_are_those_at_the_start(first_step):
    options = {"batch_size": 64, "seed": 3, "epoch": 2, "window_bytes": 150_000}
    whole = list(minibatches(rows(25_000), **options))
    np.testing.assert_array_equal(
        list(minibatches(rows(25_000), **options, first_step=first_step)), whole[first_step:] or np.empty(0)
    )


def test_fewer_rows_than_a_batch_are_one_batch():
    (batch,) = minibatches(rows(10), batch_size=64, seed=0, epoch=0)
    assert sorted(batch[:, 0]) == sorted(rows(10)[:, 0])
