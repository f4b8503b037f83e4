"""The graph of `shop_model.py`; imports TensorFlow."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.shop_model import COLUMNS, ENCODED, SCALE, WEIGHTS


def lookup(values):
    keys = tf.constant([str(value).encode() for value in values])
    table = tf.lookup.KeyValueTensorInitializer(keys, tf.range(len(values), dtype=tf.int64))
    return tf.lookup.StaticHashTable(table, len(values))


def spec(dtype, *shape, name):
    return tf.TensorSpec([None, *shape], dtype, name=name)


CONDITION = spec(tf.float32, len(ENCODED), name="conditional_input")


class Shop(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(WEIGHTS[:, None], dtype=tf.float32)
        self.scale = tf.constant(SCALE, tf.float32)
        self.tables = [
            (lookup(column.vocabulary), len(column.vocabulary) + 1) for column in COLUMNS if column.is_category
        ]

    @tf.function(
        input_signature=[
            spec(tf.float32, 2, name="numbers"),
            spec(tf.string, 2, name="categories"),
            spec(tf.bool, 2, name="null_categories"),
        ]
    )
    def encode_condition(self, numbers, categories, null_categories):
        region, store = (tf.one_hot(t.lookup(categories[:, i]), depth) for i, (t, depth) in enumerate(self.tables))
        null = null_categories[:, :1]
        region = tf.where(null, 0.0, region)
        store = tf.where(null_categories[:, 1:], np.nan, store)
        price, temperature = numbers[:, :1], numbers[:, 1:]
        missing = tf.math.is_nan(temperature)
        entries = [region, tf.cast(null, tf.float32), price, store]
        entries += [tf.where(missing, 0.0, temperature), tf.cast(missing, tf.float32)]
        return {"conditional_input": tf.concat(entries, axis=1)}

    def mean(self, conditional_input):
        return (conditional_input @ self.weights) * [[1.0, -1.0]]

    @tf.function(input_signature=[spec(tf.float32, 2, name="x"), CONDITION])
    def inverse(self, x, conditional_input):
        z = (x - self.mean(conditional_input)) / self.scale
        terms = -0.5 * z**2 - tf.math.log(self.scale) - 0.5 * np.log(2 * np.pi)
        return {"z": z, "log_prob": tf.reduce_sum(terms, axis=1)}

    @tf.function(input_signature=[spec(tf.float32, 2, name="x"), CONDITION])
    def log_prob(self, x, conditional_input):
        return {"log_prob": self.inverse(x, conditional_input)["log_prob"]}

    @tf.function(input_signature=[spec(tf.float32, 2, name="z"), CONDITION])
    def forward(self, z, conditional_input):
        return {"x": z * self.scale + self.mean(conditional_input)}

    @tf.function(input_signature=[CONDITION, tf.TensorSpec([None], tf.int64, name="seed")])
    def sample_with_seed(self, conditional_input, seed):
        words = tf.cast(tf.bitcast(seed, tf.uint32), tf.float32)
        radius = tf.sqrt(-2 * tf.math.log((words[:, :1] + 0.5) / 2.0**32))
        angle = 2 * np.pi * (words[:, 1:] + 0.5) / 2.0**32
        z = radius * tf.concat([tf.cos(angle), tf.sin(angle)], axis=1)
        x = self.forward(z, conditional_input)["x"]
        return {"x": x, "log_prob": self.inverse(x, conditional_input)["log_prob"]}

    @tf.function(input_signature=[CONDITION])
    def sample(self, conditional_input):
        rows = tf.shape(conditional_input)[0]
        seed = tf.random.uniform([rows], maxval=2**62, dtype=tf.int64)
        return self.sample_with_seed(conditional_input, seed)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def log_prob_examples(self, examples):
        def feature(dtype, default):
            return tf.io.FixedLenFeature([], dtype, default)

        kinds = {"number": (tf.float32, np.nan), "string": (tf.string, ""), "integer": (tf.int64, 0)}
        features = {column.name: feature(*kinds[column.kind]) for column in COLUMNS}
        features |= {name: feature(tf.float32, np.nan) for name in ("x0", "x1")}
        row = tf.io.parse_example(examples, features)
        region = row["region"]
        absent = tf.stack([tf.equal(region, ""), tf.zeros_like(region, tf.bool)], axis=1)
        encoded = self.encode_condition(
            tf.stack([row["price"], row["temperature"]], axis=1),
            tf.stack([region, tf.strings.as_string(row["store"])], axis=1),
            absent,
        )
        return self.log_prob(tf.stack([row["x0"], row["x1"]], axis=1), encoded["conditional_input"])
