"""Some rows of a table, each as likely as its weight says, whose forecasts are scored: as many as were asked for.

    every batch -> RowSample --+
    every batch -> RowSample --+-> the rows with the smallest keys -> in small batches -> ScoreRows -> ColumnScores

A row's key comes from its place in the input alone, so the rows are the same on any runner, and a sample of all rows is
the sample of the samples of its parts: memory and cost depend on their number, not on the table's. Rows with weights
are sampled by priority (`maf_serving/weights.py`), and count in the means what that says.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from apache_beam.ml.inference.base import PredictionResult

from beam_jobs.evaluation.column_scores import (
    NUM_DRAWS,
    PROBABILITIES,
    ColumnScores,
    scores_of_draws,
    scores_of_quantiles,
)
from beam_jobs.model.saved_model import ModelLocation, SavedModelHandler
from maf_serving.row_seeds import Words, draw_seeds
from maf_serving.weights import Vector, counted, priorities

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    from apache_beam.utils.shared import Shared

    from export.contract import Contract
    from maf_serving.model_inputs import Arrays
    from maf_serving.saved_model import LoadedModel

QUANTILE = "quantile"
SAMPLE_WITH_SEED = "sample_with_seed"
ROWS_AT_A_TIME = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampledRows:
    """Rows that the model has answered.

    Attributes:
      keys: what the seeds of their draws come from, `[B]`; see `maf_serving.row_seeds`.
      inputs: `x` `[B, D]`, and `conditional_input` `[B, C]` if there is one.
      groups: the group of each, `[B]`; of no meaning where there are none.
      weights: how much each counts, `[B]`, above 0; `None` where all count alike.
      condition: `None`: it is among the inputs.
    """

    keys: Words
    inputs: Mapping[str, npt.NDArray[Any]]
    groups: npt.NDArray[np.object_]
    weights: Vector | None = None
    condition: None = None

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, index: Any) -> SampledRows:
        """Those that the index, or the mask, says."""
        inputs = {name: array[index] for name, array in self.inputs.items()}
        weights = None if self.weights is None else self.weights[index]
        return dataclasses.replace(
            self, keys=self.keys[index], inputs=inputs, groups=self.groups[index], weights=weights
        )

    @classmethod
    def joined(cls, parts: Sequence[SampledRows]) -> SampledRows:
        """The rows of one part or more."""
        weights = [part.weights for part in parts if part.weights is not None]
        return cls(
            keys=np.concatenate([part.keys for part in parts]),
            inputs={name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
            groups=np.concatenate([part.groups for part in parts]),
            weights=np.concatenate(weights) if weights else None,
        )


class RowSample:
    """The `most` rows that come first, of all that were added; samples can be merged.

    First come the smallest keys, or of rows with weights the smallest priorities.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[SampledRows] = []
        self._limit: float | np.uint64 | None = None

    def wanted(self, keys: Words, weights: Vector | None = None) -> npt.NDArray[np.bool_]:
        """Which of the rows with these keys and weights `[B]` may be among them."""
        if self._limit is None:
            return np.ones(len(keys), bool)
        found: npt.NDArray[np.bool_] = _order(keys, weights) <= self._limit
        return found

    def add(self, rows: SampledRows) -> None:
        """Takes in rows; for speed, those that are `wanted`."""
        if not len(rows):
            return
        self._parts.append(rows)
        if sum(map(len, self._parts)) > 2 * self._most:
            self._cut()

    def merge(self, other: RowSample) -> None:
        """Takes in those of another."""
        for part in other._parts:
            self.add(part)

    def rows(self) -> SampledRows | None:
        """The rows, first ones first, each with what it counts in the sample; `None` if there are none."""
        self._cut()
        if not self._parts:
            return None
        rows = self._parts[0].take(slice(0, self._most))
        if rows.weights is None or len(self._parts[0]) == len(rows):
            return rows
        after = self._parts[0].take(slice(self._most, None))
        return dataclasses.replace(rows, weights=counted(rows.weights, _order(after.keys, after.weights)[0].item()))

    def batches(self) -> Iterator[SampledRows]:
        """The rows, a few at a time."""
        rows = self.rows()
        if rows is not None:
            for start in range(0, len(rows), ROWS_AT_A_TIME):
                yield rows.take(slice(start, start + ROWS_AT_A_TIME))

    def _cut(self) -> None:
        """Leaves the rows, and of rows with weights the one that would come next: it says what the others count."""
        if not self._parts:
            return
        joined = SampledRows.joined(self._parts)
        kept = self._most if joined.weights is None else self._most + 1
        order = np.lexsort((joined.keys, _order(joined.keys, joined.weights)))[:kept]
        self._parts = [joined.take(order)]
        if len(order) == kept:
            self._limit = _order(self._parts[0].keys, self._parts[0].weights)[-1]


def _order(keys: Words, weights: Vector | None) -> Words | Vector:
    """What is smaller comes first, `[B]`."""
    return keys if weights is None else priorities(keys, weights)


def scoring_signature(contract: Contract) -> str | None:
    """What a model is asked for the scores of its event columns; `None` if it has nothing to be asked."""
    return next((name for name in (QUANTILE, SAMPLE_WITH_SEED) if name in contract.signatures), None)


class ScoreRows(SavedModelHandler):
    """`SampledRows` to `scores` `[B, D, SCORES]`; for `RunInference`."""

    def __init__(
        self,
        model: str | ModelLocation,
        *,
        signature_name: str,
        widths: Sequence[float],
        shared: Shared,
        threads: int | None,
    ) -> None:
        """See the class.

        Args:
          model: the version.
          signature_name: `quantile` or `sample_with_seed`.
          widths: `[D]`, whose multiples the values of a column are, and are answered; 0 for any value.
          shared: by which a model that is loaded already is found.
          threads: as of `SavedModelHandler`.
        """
        super().__init__(model, signature_name=signature_name, threads=threads, shared=shared)
        self._widths = np.array(widths)

    def run_inference(  # type: ignore[override]  # of a sample
        self,
        batch: SampledRows,
        model: LoadedModel,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002  # Beam's
    ) -> Iterable[PredictionResult]:
        """One call of the signature, of as many rows as there are quantiles or draws."""
        condition = {name: array for name, array in batch.inputs.items() if name != "x"}
        ask = self._quantiles if self._signature_name == QUANTILE else self._draws
        yield PredictionResult(batch, {"scores": ask(batch, condition, model)}, self._model.path)

    def _quantiles(self, batch: SampledRows, condition: Arrays, model: LoadedModel) -> Any:
        x, count = batch.inputs["x"], len(PROBABILITIES)
        inputs = {name: np.repeat(array, count, axis=0) for name, array in condition.items()}
        inputs["probability"] = np.tile(PROBABILITIES, len(batch)).astype(x.dtype)
        quantiles = self._rounded(model.run(QUANTILE, inputs)["x"])
        return scores_of_quantiles(quantiles.reshape(len(batch), count), self._rounded(x))

    def _draws(self, batch: SampledRows, condition: Arrays, model: LoadedModel) -> Any:
        x = batch.inputs["x"]
        inputs = {name: np.repeat(array, NUM_DRAWS, axis=0) for name, array in condition.items()}
        inputs["seed"] = draw_seeds(np.repeat(batch.keys, NUM_DRAWS), np.tile(np.arange(NUM_DRAWS), len(batch)))
        drawn = self._rounded(model.run(SAMPLE_WITH_SEED, inputs)["x"])
        return scores_of_draws(drawn.reshape(len(batch), NUM_DRAWS, x.shape[1]), self._rounded(x))

    def _rounded(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """`[*, D]`, of a column with a width the nearest multiples, exactly: they are compared with each other."""
        step = np.where(self._widths > 0, self._widths, 1)
        rounded: npt.NDArray[np.float64] = np.where(self._widths > 0, np.round(x / step) * step, x)
        return rounded


class SampleScores:
    """Scores of the rows of a sample: of all, and of each group. They can be merged."""

    def __init__(self, dimensions: int) -> None:
        self.overall = ColumnScores(dimensions)
        self.groups: dict[str, ColumnScores] = {}
        self._dimensions = dimensions

    @classmethod
    def of(cls, result: PredictionResult, *, dimensions: int, grouped: bool) -> SampleScores:
        """Those of a batch that `ScoreRows` has answered."""
        made, scores, rows = cls(dimensions), result.inference["scores"], result.example
        made.overall.add(scores, rows.weights)
        for name in set(rows.groups) if grouped else ():
            mine = rows.groups == name
            made.groups[name] = ColumnScores(dimensions)
            made.groups[name].add(scores[mine], None if rows.weights is None else rows.weights[mine])
        return made

    def merge(self, other: SampleScores) -> None:
        """Takes in what another has seen."""
        self.overall.merge(other.overall)
        for name, scores in other.groups.items():
            self.groups.setdefault(name, ColumnScores(self._dimensions)).merge(scores)
