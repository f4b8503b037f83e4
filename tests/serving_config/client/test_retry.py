import pytest

from serving_config import UsageError
from serving_config.client import RetryPolicy
from serving_config.errors import InvalidArgumentError, UnavailableError


def _failing(times, error):
    calls = []

    def request():
        calls.append(1)
        if len(calls) <= times:
            raise error
        return len(calls)

    return request, calls


def test_waits_grow_up_to_the_greatest():
    waits = []
    request, _ = _failing(4, UnavailableError("away"))
    policy = RetryPolicy(attempts=5, first_delay=1.0, max_delay=3.0)
    assert policy.call(request, sleep=waits.append, uniform=lambda low, high: high) == 5
    assert waits == [1.0, 2.0, 3.0, 3.0]


def test_waits_are_spread_from_zero():
    bounds = []
    request, _ = _failing(1, UnavailableError("away"))
    RetryPolicy(attempts=2).call(request, sleep=lambda _: None, uniform=lambda *pair: bounds.append(pair) or 0.0)
    assert bounds == [(0.0, 0.1)]


def test_what_cannot_be_mended_is_not_tried_again():
    request, calls = _failing(1, InvalidArgumentError("no"))
    with pytest.raises(InvalidArgumentError):
        RetryPolicy().call(request, sleep=lambda _: None)
    assert len(calls) == 1


@pytest.mark.parametrize("arguments", [{"attempts": 0}, {"first_delay": 2.0, "max_delay": 1.0}, {"first_delay": -1.0}])
def test_policies_that_make_no_sense_are_refused(arguments):
    with pytest.raises(UsageError):
        RetryPolicy(**arguments)
