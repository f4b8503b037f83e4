"""How hard Hypothesis looks: the same few examples each time, or many new ones with HYPOTHESIS_PROFILE=thorough.

A test says how many examples it can afford in the default profile; `examples(n)` makes fifty times as many of it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.serving_config.local_server.conftest import publish, saved_versions, small  # noqa: F401  # fixtures

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"

settings.register_profile("default", derandomize=True, database=None, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("thorough", deadline=None, suppress_health_check=_SLOW, print_blob=True)
settings.load_profile("thorough" if _THOROUGH else "default")


def examples(count: int) -> settings:
    """`count` examples, or fifty times as many."""
    return settings(max_examples=50 * count if _THOROUGH else count)
