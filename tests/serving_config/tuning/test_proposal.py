import pytest

from serving_config import JobError
from serving_config.options import parse_config
from serving_config.tuning.measurement import Timing
from serving_config.tuning.proposal import HEADER, format_proposal, format_timing, propose


def _timing(threads, batches, size, ms, rate):
    return Timing(threads=threads, batches=batches, batch_size=size, p50_ms=ms, p99_ms=ms * 1.5, rows_per_second=rate)


TABLE = [
    _timing(1, 2, 1, 1.0, 2_000),
    _timing(1, 2, 8, 1.05, 15_000),
    _timing(1, 2, 64, 2.0, 64_000),
    _timing(1, 2, 512, 12.0, 85_000),
    _timing(2, 1, 1, 1.0, 1_000),
    _timing(2, 1, 64, 1.6, 40_000),
    _timing(2, 1, 512, 7.0, 73_000),
]


def test_the_most_rows_within_the_latency_are_taken():
    proposal = propose(TABLE, latency_ms=10)
    batching = proposal.batching
    assert (batching.max_batch_size, batching.num_batch_threads) == (64, 2)
    assert (proposal.intra_op_threads, proposal.inter_op_threads) == (1, 2)
    assert batching.allowed_batch_sizes == (8, 64)  # a batch of 8 is as fast as one of 1
    assert batching.batch_timeout_micros == 2000
    assert batching.max_enqueued_batches == 10


def test_more_time_allows_larger_batches_on_other_threads():
    assert propose(TABLE, latency_ms=21.5).batching.max_batch_size == 512
    assert propose(TABLE, latency_ms=21.5).intra_op_threads == 2
    assert propose(TABLE, latency_ms=100).intra_op_threads == 1


def test_the_wait_and_two_batches_fit_into_the_latency():
    for latency_ms in (3.2, 6.1, 10.0, 21.5, 37.0, 100.0):
        proposal = propose(TABLE, latency_ms=latency_ms)
        wait = proposal.batching.batch_timeout_micros / 1000
        assert wait + 2 * proposal.timing.p99_ms <= latency_ms + 1e-9


def test_a_gain_within_the_noise_is_none():
    table = [_timing(1, 2, 64, 2.0, 64_000), _timing(2, 1, 64, 2.0, 64_500)]
    assert propose(table, latency_ms=50).intra_op_threads == 1


def test_a_latency_that_no_batch_keeps_is_told():
    with pytest.raises(JobError, match=r"no batch keeps 1 ms: a batch of 1 takes 1\.5 ms.*--latency_ms 3 or more"):
        propose(TABLE, latency_ms=1)


def test_the_table_lines_up_and_the_parameters_are_shown():
    lines = [HEADER, *map(format_timing, TABLE)]
    assert len({len(line) for line in lines}) == 1
    text = format_proposal(propose(TABLE, latency_ms=10), latency_ms=10)
    assert "allowed_batch_sizes: 8\nallowed_batch_sizes: 64\n" in text
    flags = text.partition("maf-serving config ... ")[2].split()
    spec = parse_config(["--model_base", "gs://b/m", "--model_name", "m", "--output", "o", *flags]).spec
    assert spec.batching == propose(TABLE, latency_ms=10).batching
    assert (spec.intra_op_threads, spec.inter_op_threads) == (1, 2)
