import subprocess
import sys

import pytest
from tensorflow_serving.config import model_server_config_pb2

from serving_config import UsageError
from serving_config.client import VersionStatus
from serving_config.labels.options import parse_rollout
from serving_config.labels.rollout import add_version, move_label, needs_loading, plan_move

BASE = ["--models_config", "models.config", "--model_name", "m", "--rest_url", "http://h:1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["swap", *BASE], "invalid choice: 'swap'"),
        (["assign", *BASE], "--version is missing"),
        (["promote", *BASE, "--version", "3"], "has no meaning for promote"),
        (["promote", *BASE, "--from_label", "stable"], "both 'stable'; expected two"),
        (["promote", *BASE, "--apply", "push"], "needs --grpc_target"),
        (["promote", *BASE, "--label", "a/b"], "--version_label is 'a/b'"),
        (["promote", *BASE, "--wait_seconds", "0"], "expected more than 0"),
        (["rollback", *BASE[:4]], "neither came"),
        (["promote", *BASE[2:]], "neither given; expected one of them"),
        (["promote", *BASE, "--manifest", "config_map.yaml"], "both given; expected one of them"),
        (["promote", *BASE[2:], "--manifest", "m.yaml", "--apply", "push"], "push tells one server"),
    ],
)
def test_flags_that_make_no_sense_are_usage_errors(arguments, message):
    with pytest.raises(UsageError, match=message):
        parse_rollout(arguments)


def _config(**labels):
    config = model_server_config_pb2.ModelConfig(name="m")
    config.model_version_policy.specific.versions.extend([1, 3])
    for label, version in labels.items():
        config.version_labels[label] = version
    return config


def _statuses(**states):
    return [VersionStatus(version=int(name[1:]), state=state) for name, state in states.items()]


def _plan(operation, config, statuses, *more):
    return plan_move(parse_rollout([operation, *BASE, *more]), config, statuses)


def test_promotion_takes_the_version_of_the_other_label():
    move = _plan("promote", _config(stable=1, canary=3), [])
    assert (move.label, move.version, move.previous) == ("stable", 3, 1)


def test_rollback_goes_to_the_newest_loaded_version_before():
    statuses = _statuses(v1="AVAILABLE", v2="AVAILABLE", v3="END", v4="AVAILABLE")
    assert _plan("rollback", _config(stable=4), statuses).version == 2
    assert _plan("rollback", _config(stable=4), statuses, "--version", "1").version == 1
    with pytest.raises(UsageError, match="no version of model m before 1 loaded"):
        _plan("rollback", _config(stable=1), statuses)
    with pytest.raises(UsageError, match="has no label 'stable'; it has none"):
        _plan("rollback", _config(), statuses)


def test_a_version_is_added_to_specific_ones_alone():
    config = _config(stable=1)
    assert not needs_loading(config, 3)
    assert needs_loading(config, 2)
    add_version(config, 2)
    assert list(config.model_version_policy.specific.versions) == [1, 2, 3]
    move_label(config, _plan("assign", config, [], "--version", "2"))
    assert dict(config.version_labels) == {"stable": 2}
    config.model_version_policy.latest.num_versions = 1
    assert not needs_loading(config, 77)


@pytest.mark.parametrize("module", ["rollout", "tune"])
def test_help_loads_nothing_heavy(module):
    code = (
        f"import sys; from serving_config.{module} import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as leave: assert not leave.code\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "heavy = {'tensorflow', 'tensorflow_serving', 'numpy', 'google', 'grpc', 'pyarrow'} & loaded\n"
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
