"""Versions and labels of the manager, with servables that compute nothing: no socket, no TensorFlow session."""

from __future__ import annotations

import threading

import pytest

from maf_serving.codes import Code
from maf_serving.model_spec import VersionPolicy
from serving_config.local_server import RequestError
from serving_config.local_server.model_config import ModelConfig, State
from tests.serving_config.local_server.shelf import states, used
from tests.waiting import until


def test_a_new_version_takes_over(shelf, manage):
    manager = manage()
    shelf.add(2)
    manager.poll()
    until(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})
    assert shelf.closed == [1]
    assert used(manager) == 2


def test_a_version_in_use_is_closed_only_when_its_last_request_is_answered(shelf, manage):
    manager = manage()
    with manager.servable("m") as first, manager.servable("m"):
        shelf.add(2)
        manager.poll()
        until(lambda: states(manager) == {1: State.UNLOADING, 2: State.AVAILABLE})
        assert first.version == 1
        assert used(manager) == 2
        assert not shelf.closed
    until(lambda: states(manager)[1] is State.END)
    assert shelf.closed == [1]


def test_a_version_that_fails_ends_with_its_error_and_the_old_one_goes_on(shelf, manage):
    manager = manage(retries=2, retry_seconds=0.01)
    shelf.broken = {2}
    shelf.add(2)
    manager.poll()
    until(lambda: states(manager) == {1: State.AVAILABLE, 2: State.END})
    assert shelf.loads == [1, 2, 2, 2]
    [(_, status)] = manager.statuses("m", 2)
    assert (status.code, status.message) == (Code.DATA_LOSS, "broken")
    shelf.broken = set()
    manager.poll()
    assert states(manager)[2] is State.END  # the files are better now, but it is too late: publish another version
    assert used(manager) == 1


def test_a_failed_version_that_is_taken_away_and_published_again_is_tried_again(shelf, manage):
    manager = manage()
    shelf.broken = {2}
    shelf.add(2)
    manager.poll()
    until(lambda: states(manager)[2] is State.END)
    (shelf.path / "2").rmdir()
    manager.poll()
    shelf.broken = set()
    shelf.add(2)
    manager.poll()
    until(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})


def test_deleting_the_newest_version_rolls_back(shelf, manage):
    shelf.add(2)
    manager = manage()
    assert states(manager) == {2: State.AVAILABLE}
    (shelf.path / "2").rmdir()
    manager.poll()
    until(lambda: states(manager) == {1: State.AVAILABLE, 2: State.END})


def test_a_retry_stops_when_the_version_is_no_longer_wanted(shelf, manage):
    manager = manage(retries=5, retry_seconds=600)
    shelf.broken = {2}
    shelf.add(2)
    manager.poll()
    until(lambda: states(manager)[2] is State.LOADING)
    (shelf.path / "2").rmdir()
    manager.poll()
    until(lambda: states(manager)[2] is State.END)


def test_no_request_fails_while_versions_come_and_go(shelf, manage):
    manager = manage()
    stop = threading.Event()
    answered: list[int] = []

    def ask():
        while not stop.is_set():
            answered.append(used(manager))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(2, 30):
        shelf.add(version)
        manager.poll()
        until(lambda version=version: states(manager)[version] is State.AVAILABLE)
    stop.set()
    for thread in threads:
        thread.join()
    assert answered
    assert max(answered) == 29


def test_unknown_models_versions_and_labels_are_refused(manage):
    manager = manage()
    for request, code, message in (
        ({"version": 9}, Code.NOT_FOUND, "Servable not found for request: Specific(m, 9)"),
        ({"label": "x"}, Code.INVALID_ARGUMENT, "Unrecognized servable version label: x"),
    ):
        with pytest.raises(RequestError) as caught, manager.servable("m", **request):
            pass
        assert (caught.value.code, caught.value.message) == (code, message)
    with pytest.raises(RequestError, match="Could not find any versions of model other"):
        manager.statuses("other")


BOTH = VersionPolicy(kind="all")


def test_a_label_moves_to_a_loaded_version_and_to_no_other(shelf, manage):
    shelf.add(2)
    manager = manage(shelf.config(policy=BOTH, labels={"stable": 1}), early_labels=True)
    assert used(manager, label="stable") == 1
    manager.configure([shelf.config(policy=BOTH, labels={"stable": 2})])
    assert used(manager, label="stable") == 2
    with pytest.raises(RequestError, match="assign label to version 3 of model m, which is not currently available"):
        manager.configure([shelf.config(policy=BOTH, labels={"stable": 3})])
    assert used(manager, label="stable") == 2


def test_the_first_configuration_has_no_early_labels_unless_allowed(shelf, manage):
    with pytest.raises(RequestError, match="not currently available for inference"):
        manage(shelf.config(labels={"next": 2}))
    manager = manage(shelf.config(labels={"next": 2}), early_labels=True)
    with pytest.raises(RequestError, match=r"Specific\(m, 2\)"):
        used(manager, label="next")


def test_models_join_and_leave(shelf, manage, tmp_path):
    manager = manage()
    other = tmp_path / "n"
    (other / "4").mkdir(parents=True)
    manager.configure([ModelConfig(name="n", base_path=str(other))])
    assert manager.available() == {"n": [4]}
    until(lambda: states(manager) == {1: State.END})
    manager.configure([shelf.config()])
    assert used(manager) == 1


def test_a_model_whose_versions_fail_is_reported(shelf, manage):
    shelf.broken = {1}
    with pytest.raises(RequestError, match=r"did not become available: {m: version 1: broken}"):
        manage()
