"""A model without versions is waited for, at the start and at a change of the configuration."""

from __future__ import annotations

import threading

import pytest

from maf_serving.codes import Code
from serving_config.local_server import RequestError
from serving_config.local_server.model_config import ModelConfig, State
from serving_config.local_server.model_manager import ModelManager
from tests.serving_config.local_server.shelf import states, used
from tests.waiting import until


def test_a_reload_with_a_missing_base_path_waits_for_it_and_keeps_others_waiting(shelf, manage, tmp_path):
    manager = manage()
    nowhere = ModelConfig(name="n", base_path=str(tmp_path / "nowhere"))
    with pytest.raises(RequestError, match="the new models are not available yet") as late:
        manager.configure([nowhere], timeout=0.05)
    assert late.value.code is Code.DEADLINE_EXCEEDED
    until(lambda: states(manager) == {1: State.END})  # it has left the configuration
    manager.configure([shelf.config()])
    later = ModelConfig(name="later", base_path=str(tmp_path / "later"))
    waiting = threading.Thread(target=manager.configure, args=([shelf.config(), later],))
    waiting.start()
    until(lambda: "later" in manager.available())
    with pytest.raises(RequestError, match="an earlier configuration is still waiting"):
        manager.configure([shelf.config()], timeout=0.05)
    assert used(manager) == 1
    (tmp_path / "later" / "7").mkdir(parents=True)
    manager.poll()
    waiting.join(10)
    assert manager.available() == {"m": [1], "later": [7]}


def test_a_model_without_versions_is_waited_for_and_that_is_said_once(shelf, tmp_path):
    lines = []
    manager = ModelManager(shelf.load, log=lines.append)
    (tmp_path / "empty").mkdir()
    waiting = threading.Thread(
        target=manager.configure, args=([ModelConfig(name="e", base_path=str(tmp_path / "empty"))],)
    )
    waiting.start()
    until(lambda: lines)
    manager.poll()
    assert waiting.is_alive()
    (line,) = lines
    assert line.startswith(f"no version of e to serve is under base path {tmp_path / 'empty'}; waiting for one")
    with pytest.raises(RequestError, match="Could not find any versions of model e"):
        manager.statuses("e")
    (tmp_path / "empty" / "3").mkdir()
    manager.poll()
    waiting.join(10)
    assert manager.available() == {"e": [3]}
    manager.stop()


def test_stopping_ends_the_wait_for_a_model(shelf, tmp_path):
    manager = ModelManager(shelf.load, log=lambda _line: None)
    told = []

    def configure():
        with pytest.raises(RequestError, match="did not become available") as error:
            manager.configure([ModelConfig(name="e", base_path=str(tmp_path / "nowhere"))])
        told.append(error)

    waiting = threading.Thread(target=configure)
    waiting.start()
    until(lambda: "e" in manager.available())
    manager.stop()
    waiting.join(10)
    assert told
