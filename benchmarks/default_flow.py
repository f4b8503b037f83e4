"""A flow trained on rows made by a benchmark, through the front door: with default settings, or options of `train`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maf.arguments import parse_training

if TYPE_CHECKING:
    from benchmarks.known_density import Array


def train_flow(
    x: Array, c: Array, *, lower: float = -math.inf, upper: float = math.inf, options: Sequence[str] = ()
) -> Any:
    """The distribution p(x | c), trained on all rows but those for validation.

    Args:
      x: events `[N, D]`.
      c: conditions `[N, C]`, C may be 0.
      lower: what no event column is below; the flow is told of it unless it is infinite.
      upper: what none is above, likewise.
      options: of `maf-serving train`, such as `("--num_layers", "6")`.

    Raises:
      UsageError, ConfigError: if `train` would refuse the options.
    """
    event, condition = (tuple(f"{name}{i}" for i in range(part.shape[1])) for name, part in (("x", x), ("c", c)))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "rows.parquet"
        columns = dict(zip((*event, *condition), np.concatenate([x, c], axis=1).T, strict=True))
        pq.write_table(pa.table(columns), path)
        arguments = ["--input", str(path), "--event", ",".join(event), "--run", f"{directory}/run", "--test_share", "0"]
        if condition:
            arguments += ["--condition", ",".join(condition)]
        for flag, bound in (("--lower_bound", lower), ("--upper_bound", upper)):
            if math.isfinite(bound):
                arguments += [flag, ",".join(f"{name}={bound!r}" for name in event)]
        config = parse_training([*arguments, *options]).config
        if config is None:
            raise ValueError(f"options {options} resume a run; expected those of a new one")
        from maf.train import start_run  # noqa: PLC0415  # TensorFlow takes seconds to import

        return start_run(config, Path(directory) / "run", announce=lambda _: None).distribution


def draw(distribution: Any, c: Array, *, seed: int) -> Array:
    """One draw for each row of `c` `[N, C]`, `[N, D]`, float64."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds to import

    kwargs = condition_kwargs(distribution, c)
    return np.asarray(distribution.sample(len(c), seed=tf.constant([0, seed]), bijector_kwargs=kwargs), np.float64)


def condition_kwargs(distribution: Any, c: Array) -> dict[str, Any]:
    """What TFP's methods take as `bijector_kwargs` for the conditions `[N, C]`."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds to import

    from maf.routing import make_bijector_kwargs  # noqa: PLC0415

    given = {"conditional_input": tf.constant(c, tf.float32)} if c.shape[1] else {}
    return make_bijector_kwargs(distribution.bijector, given)
