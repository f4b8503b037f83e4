"""What an import of TensorFlow loads."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from maf_serving.quiet_tensorflow import keras_later

NAME = "keras.src.optimizers"


def test_keras_cannot_be_imported_while_tensorflow_is_and_can_be_later(monkeypatch):
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    with keras_later(), pytest.raises(ImportError):
        importlib.import_module(NAME)
    assert NAME not in sys.modules


def test_keras_that_is_there_already_stays(monkeypatch):
    there = object()
    monkeypatch.setitem(sys.modules, NAME, there)
    with keras_later():
        assert sys.modules[NAME] is there
    assert sys.modules[NAME] is there


def test_tensorflow_comes_without_keras():
    program = (
        "from maf_serving.quiet_tensorflow import import_quietly; import_quietly(); import sys; "
        "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False"
