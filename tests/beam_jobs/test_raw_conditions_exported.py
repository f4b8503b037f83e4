"""A model that was really exported with categories and nulls is scored from raw columns as TFP scores it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import ScoreOptions, score_table
from tests.shop_model import BIG_STORE, COLUMNS, ENCODED, encode

ROWS = [
    (0.5, -1.0, "north", 1.5, 7, 20.0),
    (-0.5, 1.0, "süd", -1.5, -12, None),
    (0.1, -0.7, None, -2.0, BIG_STORE, 2.0),
    (2.5, -1.0, "west", 0.0, BIG_STORE - 1, None),
]
NAMES = ("x0", "x1", "region", "price", "store", "temperature")


def test_raw_columns_are_scored_as_the_encoded_vector_is_by_tfp(tmp_path):
    import tensorflow as tf  # noqa: PLC0415  # seconds long
    import tensorflow_probability as tfp  # noqa: PLC0415

    from export import export_saved_model  # noqa: PLC0415
    from maf import create_named_maf, make_bijector_kwargs  # noqa: PLC0415

    mafs = [create_named_maf(f"maf_{i}", [8, 8], event_size=2, condition_size=len(ENCODED)) for i in range(2)]
    bijector = tfp.bijectors.Chain(mafs)
    base = tfp.distributions.MultivariateNormalDiag(tf.zeros([2]))
    distribution = tfp.distributions.TransformedDistribution(base, bijector)
    encoded = tf.constant([encode(*row[2:]) for row in ROWS], tf.float32)
    kwargs = make_bijector_kwargs(bijector, {"conditional_input": encoded})
    x = tf.constant([row[:2] for row in ROWS], tf.float32)
    expected = distribution.log_prob(x, bijector_kwargs=kwargs).numpy()
    columns = {"event_columns": ["x0", "x1"], "condition_columns": COLUMNS}
    export_saved_model(distribution, str(tmp_path / "model"), **columns, signatures=["log_prob"])
    columns = dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")

    options = ScoreOptions(
        model=str(tmp_path / "model"), input_patterns=(str(tmp_path / "rows.parquet"),), output=str(tmp_path / "out")
    )
    summary = score_table(options)

    scored = pq.read_table(tmp_path / "out" / "scored-00000-of-00001.parquet")
    np.testing.assert_allclose(scored["log_prob"].to_numpy(), expected, rtol=1e-4, atol=1e-4)
    assert summary.unknown_categories == {"region": 1, "store": 1}
