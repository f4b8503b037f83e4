"""Which versions are wanted, and in which order they come and go."""

from __future__ import annotations

import pytest

from maf_serving.model_spec import VersionPolicy
from serving_config.local_server.model_config import State, VersionStep, next_step
from serving_config.local_server.model_manager import found_versions

START, LOADING, AVAILABLE, UNLOADING, END = State


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (VersionPolicy(), {7}),
        (VersionPolicy(num_versions=2), {5, 7}),
        (VersionPolicy(num_versions=9), {1, 5, 7}),
        (VersionPolicy(kind="all"), {1, 5, 7}),
        (VersionPolicy(kind="specific", versions=(1, 9)), {1}),
    ],
)
def test_a_policy_chooses_among_the_versions_found(policy, wanted):
    assert policy.loaded([5, 1, 7]) == wanted


@pytest.mark.parametrize(
    ("wanted", "states", "step"),
    [
        ({2}, {}, VersionStep("load", 2)),
        ({1, 2}, {}, VersionStep("load", 2)),
        ({1, 2}, {2: LOADING}, VersionStep("load", 1)),
        ({2}, {1: AVAILABLE}, VersionStep("load", 2)),
        ({2}, {1: AVAILABLE, 2: LOADING}, None),
        ({2}, {1: AVAILABLE, 2: END}, None),  # it failed: the old one goes on
        ({2}, {1: AVAILABLE, 2: AVAILABLE}, VersionStep("unload", 1)),
        ({2}, {1: UNLOADING, 2: AVAILABLE}, None),
        (set(), {1: AVAILABLE}, VersionStep("unload", 1)),
        ({1}, {2: AVAILABLE}, VersionStep("load", 1)),  # rolled back
        (set(), {}, None),
    ],
)
def test_a_version_goes_only_once_a_wanted_one_answers(wanted, states, step):
    assert next_step(wanted, states) == step


def test_only_directories_with_numbers_for_names_are_versions(tmp_path):
    for name in ("1", "0012", "tmp-3", "3a", "-4", "99999999999999999999", "²"):
        (tmp_path / name).mkdir()
    (tmp_path / "5").touch()
    assert found_versions(str(tmp_path)) == {1: tmp_path / "1", 12: tmp_path / "0012"}
