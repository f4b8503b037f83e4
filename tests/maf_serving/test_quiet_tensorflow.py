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


PROGRAM = """
import sys
from maf_serving.quiet_tensorflow import import_quietly, import_with_probability

def loaded():
    return [name in sys.modules for name in ("tensorflow", "tensorflow_probability", "tf_keras", "keras")]

import_quietly()
print(*loaded())
import_with_probability()
print(*loaded())
import tensorflow as tf
from tensorflow_probability.python.internal import tf_keras as taken
import tf_keras
print(taken.layers.Layer is tf_keras.layers.Layer, tf.keras.version()[:2], tf.compat.v2.keras.layers.Dense.__module__)
"""


def test_tensorflow_and_probability_come_without_keras_which_is_there_when_it_is_used():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "True False False False",
        "True True True False",
        "True 3. keras.src.layers.core.dense",
    ]
