"""The steps of a comparison: rows that two models can take, what both answer, and what comes of it.

    InputBatch -> ValidateBoth -> PairedRows -> AskBoth -> AccumulatePairs -> PairedStatistics, a sample of rows
                       |                                         |
                       +-----------------------------------------+----------> rejected rows, with whose reasons

A row counts where both models answer it. What one rejects alone is rejected, and counted as that model's.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, PredictionResult
from apache_beam.pvalue import TaggedOutput

from beam_jobs.evaluation.row_sample import RowSample, SampledRows
from beam_jobs.jobs.summary import Tally
from beam_jobs.options.judging import BASELINE, MODEL, SIDES
from beam_jobs.output.writing import at_end
from beam_jobs.rows import NULL_GROUP, REJECTED_TAG, count_groups, group_names
from maf_serving.answers import is_failed, split_rows
from maf_serving.model_inputs import count_bytes, encode_rows
from maf_serving.rejection import RejectedRows, reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from beam_jobs.evaluation.comparison import PairedStatistics
    from beam_jobs.evaluation.row_sample import ScoreRows
    from maf_serving.arrow_columns import Mask
    from maf_serving.model_inputs import ModelInputs
    from maf_serving.row_seeds import RowIdentity
    from maf_serving.saved_model import LoadedModel
    from maf_serving.table_formats import InputBatch
    from maf_serving.validation import ScoreableRows

INVERSE = "inverse"
USED_TAG = "tally"
SAMPLE_TAG = "sample"
_FAILED = "log_prob: not finite"
# The first batch of a process is asked for a row so many times, each later one once.
_FIRST_CALLS = 16


class PairedRows(NamedTuple):
    """Rows of a batch that both models can take: by side, as its inputs; nothing if there are none.

    `refused`: of the rows that one cannot take or both, which `[R]` each takes, and their groups, if asked for.
    """

    sides: Mapping[str, ScoreableRows]
    refused: tuple[Mapping[str, Mask], pa.StringArray | None] | None = None


class ValidateBoth(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`InputBatch` to `PairedRows`; what one of the models cannot take goes to `REJECTED_TAG`, with whose reason."""

    def __init__(self, inputs: Mapping[str, ModelInputs], group_column: str | None) -> None:
        super().__init__()
        self._inputs = dict(inputs)
        self._group_column = group_column

    def process(self, batch: InputBatch) -> Iterator[PairedRows | TaggedOutput]:
        """Splits one batch."""
        split = {
            side: split_rows(batch.columns, rows=batch.rows, file=batch.file, inputs=inputs)
            for side, inputs in self._inputs.items()
        }
        rows = batch.rows.to_numpy()
        takes = {
            side: np.zeros(len(rows), bool) if good is None else np.isin(rows, good.rows.to_numpy(), assume_unique=True)
            for side, (good, _) in split.items()
        }
        both = np.logical_and.reduce(list(takes.values()))
        sides = {
            side: good if both.all() else good.filter(both[takes[side]])
            for side, (good, _) in split.items()
            if good is not None and both.any()
        }
        if both.all():
            yield PairedRows(sides)
            return
        lost = ~both
        groups = None
        if self._group_column is not None:
            groups = group_names(batch.columns.column(self._group_column)).fill_null(NULL_GROUP).filter(pa.array(lost))
        yield PairedRows(sides, refused=({side: mask[lost] for side, mask in takes.items()}, groups))
        rejected = _reject(
            batch.file, batch.rows.filter(pa.array(lost)), {side: bad for side, (_, bad) in split.items()}
        )
        yield TaggedOutput(REJECTED_TAG, rejected if groups is None else rejected.with_groups(count_groups(groups)))


def _reject(file: str, rows: pa.Int64Array, rejected: Mapping[str, Sequence[RejectedRows]]) -> RejectedRows:
    """The rows with the reasons of those who reject them; by kind, who that is."""
    found = {
        side: dict(
            pair
            for each in refused
            for pair in zip(each.table["row"].to_pylist(), each.table["reason"].to_pylist(), strict=True)
        )
        for side, refused in rejected.items()
    }
    reasons, kinds = [], Counter[str]()
    for row in rows.to_pylist():
        mine = {side: each[row] for side, each in found.items() if row in each}
        kinds["by both" if len(mine) == len(SIDES) else f"by the {next(iter(mine))} alone"] += 1
        same = len(mine) == len(SIDES) and len(set(mine.values())) == 1
        reasons.append(next(iter(mine.values())) if same else "; ".join(f"{side}: {why}" for side, why in mine.items()))
    return reject(file, rows, reasons, kinds)


class _Loaded:
    """The models of a process, by side, and how many batches they were asked: of the first, more is asked."""

    def __init__(self, models: Mapping[str, LoadedModel]) -> None:
        self.models = models
        self.batches = 0


class _BothHandler(ModelHandler):  # type: ignore[misc]  # Beam is untyped here
    """A handler of each side as one, for `RunInference`."""

    def __init__(self, handlers: Mapping[str, Any]) -> None:
        super().__init__()
        self._handlers = dict(handlers)

    def load_model(self) -> _Loaded:
        """Those that this process has, or else loads now."""
        return _Loaded({side: handler.load_model() for side, handler in self._handlers.items()})

    def should_skip_batching(self) -> bool:
        """Elements are batches."""
        return True

    def get_num_bytes(self, batch: Any) -> int:
        """Bytes that go into the models."""
        if not isinstance(batch, PairedRows):
            return sum(array.nbytes for array in batch.inputs.values())
        return sum(count_bytes(rows) for rows in batch.sides.values())

    def get_metrics_namespace(self) -> str:
        """Namespace of the metrics of `RunInference`."""
        return type(self).__name__


class AskBoth(_BothHandler):
    """`PairedRows` to the outputs of `inverse`, and draws of the base, by side; and how long it took, by side and kind.

    The models take turns, so that what slows the machine down for a while slows down both.
    """

    def run_inference(
        self,
        batch: PairedRows,
        model: _Loaded,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002  # Beam's
    ) -> Iterable[PredictionResult]:
        """A call of each model for the batch, and one or a few for one of its rows."""
        rows = batch.sides
        if not rows:
            return [PredictionResult(batch, {})]
        turn = model.batches
        model.batches += 1
        seconds: list[tuple[str, float]] = []
        for number in range(1 if turn else _FIRST_CALLS):
            for side in _in_turn(turn + number):
                _, took = _ask(rows[side].slice(0, 1), model.models[side])
                seconds += [(f"{side} row", took)] if turn or number else []  # the first makes ready
        answers: dict[str, Any] = {}
        encoded = {}
        for side in _in_turn(turn):
            if not turn:
                _ask(rows[side], model.models[side])
            (encoded[side], answers[side]), took = _ask(rows[side], model.models[side])
            seconds.append((f"{side} batch", took))
            answers[side] |= self._handlers[side].base_draws(encoded[side], model.models[side])
        return [PredictionResult(batch._replace(sides=encoded), {**answers, "seconds": seconds})]


def _in_turn(number: int) -> tuple[str, ...]:
    return SIDES if number % 2 == 0 else SIDES[::-1]


def _ask(rows: ScoreableRows, model: LoadedModel) -> tuple[tuple[ScoreableRows, dict[str, Any]], float]:
    """The encoded rows and their answers, and the seconds that took."""
    start = time.perf_counter()
    encoded = encode_rows(rows, model.run)
    outputs = model.run(INVERSE, encoded.inputs)
    return (encoded, outputs), time.perf_counter() - start


class ScoreBoth(_BothHandler):
    """`SampledRows` to `scores` `[B, 3 D, SCORES]`: of the model's columns, the baseline's, and the difference."""

    def __init__(self, handlers: Mapping[str, ScoreRows], order: Sequence[int]) -> None:
        """See the class; `order` says which column of the baseline each of the model's is."""
        super().__init__(handlers)
        self._order = list(order)

    def run_inference(
        self,
        batch: SampledRows,
        model: _Loaded,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002  # Beam's
    ) -> Iterable[PredictionResult]:
        """The scores by each model, with the same seeds."""
        scores = {}
        for side, handler in self._handlers.items():
            inputs = {
                name.removeprefix(f"{side} "): a for name, a in batch.inputs.items() if name.startswith(f"{side} ")
            }
            (result,) = handler.run_inference(dataclasses.replace(batch, inputs=inputs), model.models[side])
            scores[side] = result.inference["scores"]
        one, other = scores[MODEL], scores[BASELINE][:, self._order]
        yield PredictionResult(batch, {"scores": np.concatenate([one, other, one - other], axis=1)})


class AccumulatePairs(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` of `AskBoth` to one `PairedStatistics` per bundle, and a `RowSample` under `SAMPLE_TAG`.

    Rows for which a model fails go to `REJECTED_TAG`.
    """

    def __init__(
        self,
        make: Callable[[], PairedStatistics],
        *,
        group_column: str | None,
        sample_rows: int,
        identity: RowIdentity,
    ) -> None:
        """See the class; `make` gives the statistics of nothing."""
        super().__init__()
        self._make = make
        self._group_column = group_column
        self._sample_rows = sample_rows
        self._identity = identity

    def start_bundle(self) -> None:
        """Begins anew."""
        self._statistics = self._make()
        self._sample = RowSample(self._sample_rows)
        self._rows = 0

    def process(self, result: PredictionResult) -> Iterator[TaggedOutput]:
        """Takes in one batch."""
        pair: PairedRows = result.example
        if pair.refused is not None:
            self._statistics.refuse(*pair.refused)
        if not pair.sides:
            return
        answers, batch = result.inference, pair.sides[MODEL]
        groups = None
        if self._group_column is not None:
            groups = group_names(batch.columns.column(self._group_column)).fill_null(NULL_GROUP)
        answered = {side: ~is_failed(answers[side]["log_prob"]) for side in SIDES}
        both = answered[MODEL] & answered[BASELINE]
        if not both.all():
            lost = pa.array(~both)
            named = None if groups is None else groups.filter(lost)
            self._statistics.refuse({side: mask[~both] for side, mask in answered.items()}, named)
            rejected = _reject_failed(batch, answered, ~both)
            yield TaggedOutput(REJECTED_TAG, rejected if named is None else rejected.with_groups(count_groups(named)))
            groups = None if groups is None else groups.filter(pa.array(both))
        self._statistics.add({side: answers[side] for side in SIDES}, both, groups)
        for asked, seconds in answers["seconds"]:
            self._statistics.seconds[asked].add(np.array([seconds]))
        self._rows += int(both.sum())
        if self._sample_rows:
            self._add_to_sample(pair, both, groups)

    def _add_to_sample(self, pair: PairedRows, usable: Mask, groups: pa.StringArray | None) -> None:
        keys = self._identity.keys(pair.sides[MODEL])
        chosen = np.flatnonzero(usable & self._sample.wanted(keys))
        places = np.cumsum(usable)[chosen] - 1  # among the groups, which are of the usable ones
        named = np.full(len(chosen), NULL_GROUP, object)
        if groups is not None:
            named = groups.take(pa.array(places)).to_numpy(zero_copy_only=False)
        inputs = {
            f"{side} {name}": array[chosen] for side, rows in pair.sides.items() for name, array in rows.inputs.items()
        }
        self._sample.add(SampledRows(keys=keys[chosen], inputs=inputs, groups=named))

    def finish_bundle(self) -> Iterator[object]:
        """Emits the statistics, how many rows are in them, and the sample."""
        yield at_end(self._statistics)
        yield TaggedOutput(USED_TAG, at_end(Tally(rows_used=self._rows)))
        if self._sample_rows:
            yield TaggedOutput(SAMPLE_TAG, at_end(self._sample))


def _reject_failed(batch: ScoreableRows, answered: Mapping[str, Mask], lost: Mask) -> RejectedRows:
    rows = batch.rows.filter(pa.array(lost))
    sides = {side: rows.filter(pa.array(~mask[lost])) for side, mask in answered.items()}
    return _reject(
        batch.file,
        rows,
        {side: [reject(batch.file, mine, [_FAILED] * len(mine), {_FAILED: len(mine)})] for side, mine in sides.items()},
    )
