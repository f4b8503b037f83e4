"""A flow with categories and nulls among its conditions, and rows for it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from export.contract import encoded_columns
from maf import create_named_maf
from maf_serving.columns import ConditionColumn

tfb = tfp.bijectors
tfd = tfp.distributions

COLUMNS = (
    ConditionColumn(name="age"),
    ConditionColumn(name="region", kind="string", vocabulary=("north", "größe=1", "")),
    ConditionColumn(name="income", nullable=True),
    ConditionColumn(name="store", kind="integer", vocabulary=(7, -3), nullable=True),
)
NAMES = encoded_columns(COLUMNS)
EVENT = ("x0", "x1")


def make_flow(columns=COLUMNS, dtype="float32", event_size=2):
    size = len(encoded_columns(columns))
    layers = [
        create_named_maf(f"maf_{i}", [16], event_size=event_size, condition_size=size, dtype=dtype, activation="tanh")
        for i in range(2)
    ]
    base = tfd.MultivariateNormalDiag(tf.zeros(event_size, dtype))
    return tfd.TransformedDistribution(base, tfb.Chain(layers))


RAW = {
    "numbers": np.array([[1.5, np.nan], [2.0, 3.0], [0.0, -1.0], [1.0, 1.0], [1.0, 2.0]], np.float32),
    "categories": np.array(
        [[b"north", b"7"], ["größe=1".encode(), b"8"], [b"south", b""], [b"", b"-3"], [b"north", b"07"]], object
    ),
    "null_categories": np.array([[0, 0], [0, 0], [0, 1], [0, 0], [0, 0]], bool),
}
ENCODED = (
    {"age": 1.5, "region=north": 1, "income is null": 1, "store=7": 1},
    {"age": 2, "region=größe=1": 1, "income": 3, "store=<other>": 1},
    {"region=<other>": 1, "income": -1, "store is null": 1},
    {"age": 1, "region=": 1, "income": 1, "store=-3": 1},
    {"age": 1, "region=north": 1, "income": 2, "store=<other>": 1},
)
X = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)


def feature(value):
    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def example(**features):
    of = {name: value if isinstance(value, tf.train.Feature) else feature(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=of)).SerializeToString()


def examples():
    """The rows of `RAW` with `X`."""
    made = []
    for row, x in enumerate(X.tolist()):
        (age, income), (region, store) = RAW["numbers"][row].tolist(), RAW["categories"][row]
        features = {"x0": x[0], "x1": x[1], "age": age, "region": region}
        if not np.isnan(income):
            features["income"] = income
        if not RAW["null_categories"][row, 1]:
            features["store"] = int(store) if store != b"07" else 70
        made.append(example(**features))
    return np.array(made, object)
