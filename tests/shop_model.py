"""A hand-written model whose condition has raw columns of every kind, with its density in closed form.

region   string category, may be null      price        number
store    integer category                  temperature  number, may be null
x0 ~ N(mean, 1), x1 ~ N(-mean, 2), independent, with mean = conditional_input @ WEIGHTS
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export import ConditionColumn, Contract
from export.contract import CONTRACT_PATH, Signature, TensorSpec, encoded_columns

BIG_STORE = 9007199254740993  # 2^53 + 1: no double is that
COLUMNS = (
    ConditionColumn(name="region", kind="string", vocabulary=("north", "süd"), nullable=True),
    ConditionColumn(name="price"),
    ConditionColumn(name="store", kind="integer", vocabulary=(7, -12, BIG_STORE)),
    ConditionColumn(name="temperature", nullable=True),
)
ENCODED = encoded_columns(COLUMNS)
WEIGHTS = np.array([1.0, 2.0, 3.0, 5.0, 0.5, 7.0, -1.0, 0.25, 4.0, 0.125, -3.0])
SCALE = np.array([1.0, 2.0])


def encode(region: str | None, price: float, store: int, temperature: float | None) -> list[float]:
    """`conditional_input` of a row, value by value."""
    regions = [float(region == value) for value in ("north", "süd")]
    regions += [float(region is not None and region not in {"north", "süd"}), float(region is None)]
    stores = [float(store == value) for value in (7, -12, BIG_STORE)]
    stores += [float(store not in {7, -12, BIG_STORE})]
    missing = temperature is None or np.isnan(temperature)
    return [*regions, price, *stores, 0.0 if missing else temperature, float(missing)]


def log_prob(x0, x1, *raw) -> float:
    """In nats."""
    mean = np.dot(encode(*raw), WEIGHTS)
    z = (np.array([x0, x1]) - mean * np.array([1.0, -1.0])) / SCALE
    return float(np.sum(-0.5 * z**2 - np.log(SCALE) - 0.5 * np.log(2 * np.pi)))


def save_shop_model(base: Path) -> Path:
    """Writes version 1 of the model below `base`, with its contract; returns `base`."""
    import tensorflow as tf  # noqa: PLC0415  # seconds, for the tests that need the model

    from tests.shop_module import Shop  # noqa: PLC0415

    names = ("log_prob", "inverse", "forward", "sample", "sample_with_seed", "encode_condition", "log_prob_examples")
    module = Shop()
    version = base / "1"
    tf.saved_model.save(module, str(version), signatures={name: getattr(module, name) for name in names})
    (version / CONTRACT_PATH).parent.mkdir(exist_ok=True)
    (version / CONTRACT_PATH).write_text(_contract(tf.__version__).to_json())
    return base


def _contract(tensorflow_version: str) -> Contract:
    vector = TensorSpec("float32", (None, 2))
    specs = {
        "x": vector,
        "z": vector,
        "numbers": vector,
        "categories": TensorSpec("string", (None, 2)),
        "null_categories": TensorSpec("bool", (None, 2)),
        "conditional_input": TensorSpec("float32", (None, len(ENCODED))),
        "seed": TensorSpec("int64", (None,)),
        "examples": TensorSpec("string", (None,)),
        "log_prob": TensorSpec("float32", (None,)),
    }
    signatures = {
        "log_prob": ("x conditional_input", "log_prob"),
        "inverse": ("x conditional_input", "z log_prob"),
        "forward": ("z conditional_input", "x"),
        "sample": ("conditional_input", "x log_prob"),
        "sample_with_seed": ("conditional_input seed", "x log_prob"),
        "encode_condition": ("numbers categories null_categories", "conditional_input"),
        "log_prob_examples": ("examples", "log_prob"),
    }

    def tensors(names: str) -> dict[str, TensorSpec]:
        return {name: specs[name] for name in names.split()}

    return Contract(
        event_columns=("x0", "x1"),
        conditional_columns=ENCODED,
        condition_columns=COLUMNS,
        dtype="float32",
        signatures={
            name: Signature(inputs=tensors(inputs), outputs=tensors(outputs))
            for name, (inputs, outputs) in signatures.items()
        },
        toolkit_version="0",
        tensorflow_version=tensorflow_version,
    )
