"""The model as the evaluation runs it: `inverse` on every row, and on some of them draws brought back to base space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from apache_beam.ml.inference.base import PredictionResult

from beam_jobs.model_handler import SavedModelHandler
from maf_serving.model_inputs import encode_rows
from maf_serving.row_seeds import draw_seeds, row_keys_in_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beam_jobs.model_location import ModelLocation
    from maf_serving.saved_model import LoadedModel
    from maf_serving.validation import ScoreableRows

INVERSE = "inverse"
SAMPLE_WITH_SEED = "sample_with_seed"
_SEED = 0
# Of each file, the first rows and one row in so many get a draw: enough to tell bases apart, at little cost.
FIRST_ROWS = 4096
ONE_ROW_IN = 256


class EvaluationHandler(SavedModelHandler):
    """Adds `base_z` `[*, D]` to the outputs of `inverse`: draws from the model, in base space."""

    def __init__(self, model: str | ModelLocation, *, threads: int | None) -> None:
        super().__init__(model, signature_name=INVERSE, threads=threads)

    def run_inference(  # type: ignore[override]  # an evaluation has rows with their numbers
        self, batch: ScoreableRows, model: LoadedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """One call of `inverse` for the rows, and a small one of each signature for the draws."""
        batch = encode_rows(batch, model.run)
        for result in super().run_inference(batch, model, inference_args):
            result.inference["base_z"] = _draw_from_base(batch, model)
            yield result


def _draw_from_base(batch: ScoreableRows, model: LoadedModel) -> Any:
    rows = batch.rows.to_numpy()
    chosen = (rows < FIRST_ROWS) | (rows % ONE_ROW_IN == 0)
    if not chosen.any():
        return np.empty((0, batch.inputs["x"].shape[1]))
    condition = {name: tensor[chosen] for name, tensor in batch.inputs.items() if name != "x"}
    seeds = draw_seeds(row_keys_in_file(_SEED, batch.file, rows[chosen]), np.zeros(chosen.sum(), np.int64))
    drawn = model.run(SAMPLE_WITH_SEED, {**condition, "seed": seeds})
    return model.run(INVERSE, {**condition, "x": drawn["x"]})["z"]
