"""Compares an exported version, reloaded by a fresh process, with the model it came from.

The signatures that take raw columns of the condition are compared with what NumPy makes of the same columns.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from export.contract import SERVING_DEFAULT, Contract, Signature, read_contract
from export.errors import VerificationError
from export.signatures import (
    ENCODE_CONDITION,
    LOG_PROB_EXAMPLES,
    RAW,
    REGRESS,
    SUMMARIZE,
    Request,
    as_sent,
    check_signature_defs,
    signature_features,
)
from export.verification.answers import ReferenceAnswers, SummaryVerification, reference_answers
from export.verification.comparison import Comparison, Expectation, compare, expect
from export.verification.inputs import TYPICAL_ROWS, Function, RawRows, Reference, VerificationInputs
from export.verification.replay import LOADERS, Replay, Replies, fresh_process

Array = np.ndarray[Any, Any]
_SEEDED = "sample_with_seed"
_DRAWS = ("sample", _SEEDED)
_OTHER_BATCH = " in another batch"
_LARGE_BATCH = " in a large batch"
_OTHER_BATCHES = {_OTHER_BATCH: (-4, 1), _LARGE_BATCH: (-2, 7)}
"""Rows taken in steps, and how often: few rows and many are computed in different ways, and both are compared."""
_IN_LARGE_BATCHES = ("inverse", "forward", _SEEDED)  # the others are these, and each costs a loader a second
_AGAIN = " again"
_LEAST_SHARE = 0.75
_BROKEN = " that cannot be scored"
_OTHER_ROWS = slice(None, None, -2)


@dataclasses.dataclass(frozen=True, slots=True)
class VerificationReport:
    """The comparisons of every signature, output and loader."""

    comparisons: tuple[Comparison, ...]

    def require_agreement(self) -> None:
        """Raises `VerificationError` naming the worst comparison, if that is beyond its tolerance."""
        worst = max(self.comparisons, key=lambda comparison: comparison.worst)
        if not worst.worst <= 1:
            raise VerificationError(
                f"signature {worst.signature!r} ({worst.loader} loader): {worst.output} is off by "
                f"{worst.max_error:.3g} against the {worst.against}, p99 {worst.p99_error:.3g}, relative "
                f"{worst.max_relative_error:.3g}: {worst.worst:.3g} times what rounding explains"
            )


def verify(
    model: Reference, version_dir: Path, inputs: VerificationInputs, replay: Replay | None = None
) -> VerificationReport:
    """Runs every signature of a version, and its warm-up records, through both loaders and compares with a model.

    Deterministic signatures must give the model's values. Draws must have the log-density that the model gives them and
    must not depend on their batch, those of `sample` must be new at every call. A row with NaN must stay alone. Raw
    columns must be encoded as NumPy does it.

    Args:
      model: what was exported.
      version_dir: a version, published or not.
      inputs: rows to compare, as `draw_inputs` makes them.
      replay: of a `fresh_process` that was begun while the version was made; `None` to begin one now.

    Raises:
      VerificationError: if the version cannot be run, the model itself is not finite or not stable at its own draws, or
        a draw, a NaN or a raw column is not handled as above. Differences are reported, not raised.
    """
    if replay is None:
        with fresh_process() as begun:
            return verify(model, version_dir, inputs, begun)
    contract = read_contract(version_dir)
    check_signature_defs(version_dir, contract)
    raw = RawVerification(contract=contract, raw=inputs.raw, x=inputs.arrays["x"]) if inputs.raw else None
    summary = SummaryVerification(contract=contract, arrays=inputs.arrays) if SUMMARIZE in contract.signatures else None
    requests = [
        *_requests(contract, inputs),
        *(raw.requests() if raw else ()),
        *(summary.requests() if summary else ()),
    ]
    with ThreadPoolExecutor(max_workers=1) as background:  # loading takes about as long as the model's own values
        replying = background.submit(replay, version_dir, requests)
        answers = reference_answers(model, contract)
        expected = _expectations(model, contract, inputs, answers)
        replies = replying.result()
    _check_freshness(replies, contract)
    _check_nan_rows(replies, contract)
    comparisons: list[Comparison] = []
    places = _place_expectations(model, contract, inputs, replies)
    for loader in LOADERS:
        draws = _draw_expectations(model, contract, inputs, replies, loader)
        for name, place in places.items():
            draws[name] |= place
        comparisons += _with_model(replies, expected | draws, loader)
        comparisons += _with_other_batch(replies, contract, expected | draws, loader)
        comparisons += _with_first_loader(replies, contract, draws, loader)
    if raw is not None:
        comparisons += raw.comparisons(model, replies, LOADERS)
    if summary is not None:
        comparisons += summary.comparisons(answers, replies, LOADERS)
    return VerificationReport(tuple(comparisons))


def _expectations(
    model: Reference, contract: Contract, inputs: VerificationInputs, answers: ReferenceAnswers | None
) -> dict[str, dict[str, Expectation]]:
    """By signature and output, of the signatures that are deterministic functions of the model."""
    rng = np.random.default_rng(0)
    functions = {name: model.functions[name] for name in ("log_prob", "inverse", "forward")}
    functions |= answers.by_name if answers else {}
    expected = {
        name: expect(function, inputs.of(contract.signature(name).inputs), rng, model.rounded_weights)
        for name, function in functions.items()
    }
    if "quantile" in expected and contract.answers and contract.answers.rounded_to:
        (step,) = contract.answers.rounded_to.values()  # a value between two multiples of it may be rounded to either
        x = expected["quantile"]["x"]
        expected["quantile"]["x"] = dataclasses.replace(x, allowed=x.allowed + step)
    _check_comparable(expected["log_prob"]["log_prob"])
    expected[SERVING_DEFAULT] = expected["log_prob"]
    if REGRESS in contract.signatures:
        features = _in_float32(inputs.of(signature_features(contract, REGRESS)))
        expected[REGRESS] = expect(_regress(model), features, rng, model.rounded_weights)
    return expected


def _regress(model: Reference) -> Function:
    """The model's answer to Examples, which hold float32 whatever the model is."""

    def regress(inputs: Mapping[str, Array]) -> dict[str, Array]:
        features = {name: value.astype(model.dtype) for name, value in inputs.items()}
        return {"outputs": model.functions["log_prob"](features)["log_prob"].astype(np.float32)}

    return regress


def _in_float32(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def _check_comparable(log_prob: Expectation) -> None:
    finite, rows = np.isfinite(log_prob.values[:TYPICAL_ROWS]), log_prob.rows[:TYPICAL_ROWS]
    if finite.mean() < _LEAST_SHARE:
        raise VerificationError(
            f"the model's own log_prob is not finite at {np.count_nonzero(~finite)} of {len(finite)} of its own draws; "
            "expected a model that can score what it samples"
        )
    if rows.mean() < _LEAST_SHARE:
        raise VerificationError(
            f"rounding the inputs in the last digit changes the model's own log_prob beyond comparison at "
            f"{np.count_nonzero(~rows)} of {len(rows)} of its own draws; expected columns whose spread is not "
            "tiny beside their values: shift them, or use float64"
        )


def _with_conditions(contract: Contract) -> dict[str, Signature]:
    """The signatures but those that `RawVerification` and `SummaryVerification` check."""
    return {name: signature for name, signature in contract.signatures.items() if name not in (*RAW, SUMMARIZE)}


def _requests(contract: Contract, inputs: VerificationInputs) -> Iterator[Request]:
    for name in _with_conditions(contract):
        arrays = inputs.of(signature_features(contract, name))
        yield Request(name, name, as_sent(contract, name, arrays))
        if name == "sample":
            yield Request(name + _AGAIN, name, arrays)
        else:
            for suffix in _other_batches(name):
                yield Request(name + suffix, name, as_sent(contract, name, _other_batch(arrays, suffix)))


def _other_batches(name: str) -> Iterable[str]:
    return _OTHER_BATCHES if name in _IN_LARGE_BATCHES else (_OTHER_BATCH,)


def _other_batch(arrays: Mapping[str, Array], suffix: str) -> dict[str, Array]:
    """Some of the rows, last first, after a row with NaN in it."""
    return {
        name: np.concatenate([_not_finite(value[:1]), value[_other_rows(len(value), suffix)]])
        for name, value in arrays.items()
    }


def _other_rows(rows: int, suffix: str) -> Array:
    step, times = _OTHER_BATCHES[suffix]
    return np.tile(np.arange(rows)[::step], times)


def _not_finite(value: Array) -> Array:
    return np.full_like(value, np.nan) if value.dtype.kind == "f" else value


def _draw_expectations(
    model: Reference, contract: Contract, inputs: VerificationInputs, replies: Replies, loader: str
) -> dict[str, dict[str, Expectation]]:
    """What the model says about the x of draws: their log-density."""
    condition = {name: value for name, value in inputs.arrays.items() if name == "conditional_input"}
    expected = {}
    for name in _DRAWS:
        if name in contract.signatures:
            x = {"x": replies.output(loader, name, "x"), **condition}
            expected[name] = expect(model.functions["log_prob"], x, np.random.default_rng(0), model.rounded_weights)
    return expected


def _place_expectations(
    model: Reference, contract: Contract, inputs: VerificationInputs, replies: Replies
) -> dict[str, dict[str, Expectation]]:
    """How far rounding moves the x that the same seeds give in another batch or loader; a draw is dear in TFP."""
    if _SEEDED not in contract.signatures:
        return {}
    condition = {name: value for name, value in inputs.arrays.items() if name == "conditional_input"}
    x = {"x": replies.output(LOADERS[0], _SEEDED, "x"), **condition}
    z = {"z": model.functions["inverse"](x)["z"], **condition}
    return {_SEEDED: expect(model.functions["forward"], z, np.random.default_rng(0), model.rounded_weights)}


def _with_model(
    replies: Replies, expected: Mapping[str, Mapping[str, Expectation]], loader: str
) -> Iterator[Comparison]:
    for name, outputs in expected.items():
        for output, values in outputs.items():
            if name in _DRAWS and output == "x":
                continue  # the model has no x of its own for a seed
            actual = replies.output(loader, name, output)
            yield compare(actual, values, signature=name, output=output, against="model", loader=loader)


def _with_other_batch(
    replies: Replies, contract: Contract, expected: Mapping[str, Mapping[str, Expectation]], loader: str
) -> Iterator[Comparison]:
    for name, signature in _with_conditions(contract).items():
        if name == "sample":
            continue
        for output in signature.outputs:
            whole = dataclasses.replace(expected[name][output], values=replies.output(loader, name, output))
            for suffix in _other_batches(name):
                rows = whole.take(_other_rows(len(whole.values), suffix))
                actual = replies.output(loader, name + suffix, output)[1:]
                yield compare(actual, rows, signature=name, output=output, against="batch", loader=loader)


def _with_first_loader(
    replies: Replies, contract: Contract, draws: Mapping[str, Mapping[str, Expectation]], loader: str
) -> Iterator[Comparison]:
    """A seed's draw is the same whatever loads the version; the model has none of its own to compare with."""
    name, output = _SEEDED, "x"
    if name in contract.signatures and loader != LOADERS[0]:
        first = dataclasses.replace(draws[name][output], values=replies.output(LOADERS[0], name, output))
        actual = replies.output(loader, name, output)
        yield compare(actual, first, signature=name, output=output, against="loader", loader=loader)


def _check_freshness(replies: Replies, contract: Contract) -> None:
    if "sample" not in contract.signatures:
        return
    for loader in LOADERS:
        first, second = (replies.output(loader, name, "x") for name in ("sample", "sample" + _AGAIN))
        repeated = np.count_nonzero((first == second).all(axis=1))
        if repeated > len(first) / 2:  # a few may be: narrow columns far from 0 have few numbers to take
            raise VerificationError(
                f"signature 'sample' ({loader} loader) repeats {repeated} of {len(first)} draws in a second call; "
                "expected new ones at every call"
            )


def _check_nan_rows(replies: Replies, contract: Contract) -> None:
    for loader in LOADERS:
        for name, signature in _with_conditions(contract).items():
            if name == "sample" or all(spec.dtype == "int64" for spec in signature.inputs.values()):
                continue
            for suffix, output in itertools.product(_other_batches(name), signature.outputs):
                row = replies.output(loader, name + suffix, output)[0]
                if not np.isnan(row).all():
                    raise VerificationError(
                        f"signature {name!r} ({loader} loader): {output} of a row with NaN is {row}; expected NaN"
                    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawVerification:
    """Requests to `encode_condition` and `log_prob_examples`, and what their replies have to be.

    Among the rows are categories that no vocabulary has, and nulls where they may be. What they are encoded to must be
    what NumPy makes of them, to the last bit, and their log-density that of the model. A row that lacks a value it
    cannot do without must be NaN.

    Attributes:
      contract: of the version.
      raw: rows of raw columns.
      x: `[N, D]`, x of these rows.
    """

    contract: Contract
    raw: RawRows
    x: Array

    def requests(self) -> Iterator[Request]:
        """What is to be sent."""
        for suffix, rows in (("", slice(None)), (_OTHER_BATCH, _OTHER_ROWS)):
            yield self._encode_request(suffix, self.raw.take(rows))
            yield self._examples_request(suffix, self.raw.take(rows), self.x[rows])
        yield self._examples_request(_BROKEN, *_broken(self.raw, self.x, self._breaks(LOG_PROB_EXAMPLES)))
        if self._breaks(ENCODE_CONDITION):
            yield self._encode_request(_BROKEN, _broken(self.raw, self.x, self._breaks(ENCODE_CONDITION))[0])

    def _encode_request(self, suffix: str, raw: RawRows) -> Request:
        names = self.contract.signature(ENCODE_CONDITION).inputs
        return Request(ENCODE_CONDITION + suffix, ENCODE_CONDITION, {name: raw.inputs[name] for name in names})

    def _examples_request(self, suffix: str, raw: RawRows, x: Array) -> Request:
        examples = raw.examples(self.contract.event_columns, x)
        return Request(LOG_PROB_EXAMPLES + suffix, LOG_PROB_EXAMPLES, {"examples": examples})

    def _breaks(self, name: str) -> list[tuple[str, int, Any]]:
        """Array, place and value of what makes a row one that the signature cannot answer."""
        numbers = [column for column in self.raw.columns if not column.is_category]
        categories = [column for column in self.raw.columns if column.is_category]
        breaks: list[tuple[str, int, Any]] = [("numbers", place, np.inf) for place in range(len(numbers))]
        breaks += [("numbers", place, np.nan) for place, column in enumerate(numbers) if not column.nullable]
        breaks += [("null_categories", place, True) for place, column in enumerate(categories) if not column.nullable]
        if name == LOG_PROB_EXAMPLES:
            return [*breaks, *(("x", place, np.nan) for place in range(self.contract.event_size))]
        return [each for each in breaks if each[0] in self.contract.signature(name).inputs]

    def comparisons(self, model: Reference, replies: Replies, loaders: Sequence[str]) -> Iterator[Comparison]:
        """Errors of the log-densities.

        Raises:
          VerificationError: for an encoding, or the answer to a row that cannot be scored, that is not as it must be.
        """
        null_values = model.null_values(self.raw.columns)
        features = {
            "x": self.x.astype(np.float32).astype(self.x.dtype),
            "conditional_input": self.raw.in_float32().encode(null_values),
        }
        rng = np.random.default_rng(0)
        expected = expect(model.functions["log_prob"], features, rng, model.rounded_weights)["log_prob"]
        for loader in loaders:
            self._check_encoding(replies, loader, self.raw.encode(null_values))
            self._check_broken(replies, loader)
            whole = replies.output(loader, LOG_PROB_EXAMPLES, "log_prob")
            part = replies.output(loader, LOG_PROB_EXAMPLES + _OTHER_BATCH, "log_prob")
            yield _compare(whole, expected, "model", loader)
            in_whole = dataclasses.replace(expected, values=whole).take(_OTHER_ROWS)
            yield _compare(part, in_whole, "batch", loader)

    def _check_encoding(self, replies: Replies, loader: str, expected: Array) -> None:
        for suffix, rows in (("", expected), (_OTHER_BATCH, expected[_OTHER_ROWS])):
            came = replies.output(loader, ENCODE_CONDITION + suffix, "conditional_input")
            wrong = np.argwhere(~np.equal(came, rows)) if came.shape == rows.shape else [(0, 0)]
            for row, column in wrong[:1]:
                raise VerificationError(
                    f"signature {ENCODE_CONDITION!r} ({loader} loader): {self.contract.conditional_columns[column]} is "
                    f"{came[row, column]} in row {row} of shape {list(came.shape)}; expected {rows[row, column]}"
                )

    def _check_broken(self, replies: Replies, loader: str) -> None:
        for name, output in ((ENCODE_CONDITION, "conditional_input"), (LOG_PROB_EXAMPLES, "log_prob")):
            for index, (array, place, value) in enumerate(self._breaks(name)):
                came = replies.output(loader, name + _BROKEN, output)[index]
                if not np.isnan(came).all():
                    raise VerificationError(
                        f"signature {name!r} ({loader} loader): {output} of a row with {array}[{place}] = {value} is "
                        f"{came}; expected NaN"
                    )


def _broken(raw: RawRows, x: Array, breaks: Sequence[tuple[str, int, Any]]) -> tuple[RawRows, Array]:
    """A copy of the first row for each of `breaks`, with nothing else null in it."""
    rows = [0] * len(breaks)
    arrays = {
        "numbers": np.nan_to_num(raw.numbers[rows]),
        "null_categories": np.zeros_like(raw.null_categories[rows]),
        "x": x[rows],
    }
    for row, (array, place, value) in enumerate(breaks):
        arrays[array][row, place] = value
    broken = dataclasses.replace(raw.take(rows), numbers=arrays["numbers"], null_categories=arrays["null_categories"])
    return broken, arrays["x"]


def _compare(actual: Array, expected: Expectation, against: str, loader: str) -> Comparison:
    return compare(actual, expected, signature=LOG_PROB_EXAMPLES, output="log_prob", against=against, loader=loader)
