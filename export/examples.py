"""Rows as serialized `tf.Example`s, which is how TF Serving's Regress call takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export.contract import REGRESS_METHOD_NAME, Contract

Array = np.ndarray[Any, Any]


def signature_features(contract: Contract, name: str) -> list[str]:
    """Names of the arrays in `VerificationInputs` that a signature takes, as features of Examples or as tensors."""
    regress = contract.signature(name).method_name == REGRESS_METHOD_NAME
    return list(contract.signature("log_prob" if regress else name).inputs)


def as_sent(contract: Contract, name: str, features: Mapping[str, Array]) -> Mapping[str, Array]:
    """The inputs by name of a signature, from its features."""
    if contract.signature(name).method_name == REGRESS_METHOD_NAME:
        return {"inputs": serialize_examples(features)}
    return features


def serialize_examples(features: Mapping[str, Array]) -> Array:
    """`[N]` serialized `tf.Example`s (an array of `bytes` objects) of features `[N, K]`, rounded to float32."""
    rows = len(next(iter(features.values())))
    serialized = np.empty(rows, object)
    for row in range(rows):
        lists = {name: tf.train.FloatList(value=values[row]) for name, values in features.items()}
        feature = {name: tf.train.Feature(float_list=values) for name, values in lists.items()}
        serialized[row] = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    return serialized
