"""Compares an exported version, reloaded by a fresh process, with the model it came from.

Encodings of categories and nulls are compared in `raw_columns.py`, `summarize` and its like in `answers.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from export.contract import BY_COLUMN, IN_RANGE, SERVING_DEFAULT, Contract, Signature, read_contract
from export.errors import VerificationError
from export.signatures import (
    RAW,
    REGRESS,
    SUMMARIZE,
    Request,
    as_sent,
    check_signature_defs,
)
from export.verification.answers import (
    ReferenceAnswers,
    SummaryVerification,
    reference_answers,
)
from export.verification.columns import ColumnVerification
from export.verification.comparison import Asked, Comparison, Expectation, compare_values, expect_all
from export.verification.inputs import (
    TYPICAL_ROWS,
    Function,
    Reference,
    VerificationInputs,
)
from export.verification.raw_columns import RawVerification
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
_PLACE = "where seeds lead"
_LEAST_SHARE = 0.75


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
    raw = None
    if inputs.raw is not None and contract.condition_columns:
        raw = RawVerification(contract=contract, raw=inputs.raw, x=inputs.arrays["x"])
    summary = SummaryVerification(contract=contract, arrays=inputs.arrays) if SUMMARIZE in contract.signatures else None
    columns = ColumnVerification(contract=contract, inputs=inputs, summary_rows=summary.rows if summary else 0)
    requests = [
        *_requests(contract, inputs),
        *(raw.requests() if raw else ()),
        *(summary.requests() if summary else ()),
        *columns.requests(),
    ]
    with ThreadPoolExecutor(max_workers=1) as background:  # loading takes about as long as the model's own values
        replying = background.submit(replay, version_dir, requests)
        answers = reference_answers(model, contract)
        expected = _expectations(model, contract, inputs, answers)
        replies = replying.result()
    _check_freshness(replies, contract)
    _check_nan_rows(replies, contract)
    comparisons: list[Comparison] = []
    of_draws = _draw_expectations(model, contract, inputs, replies)
    for loader in LOADERS:
        draws = of_draws[loader]
        comparisons += _with_model(replies, expected | draws, loader)
        comparisons += _with_other_batch(replies, contract, expected | draws, loader)
        comparisons += _with_first_loader(replies, contract, draws, loader)
        comparisons += columns.comparisons(expected | draws, replies, loader)
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
    asked: dict[str, Asked] = {
        name: (function, inputs.of(contract.signature(name).inputs)) for name, function in functions.items()
    }
    if REGRESS in contract.signatures:
        asked[REGRESS] = (_regress(model), _in_float32(inputs.of_signature(contract, REGRESS)))
    expected = expect_all(asked, rng, model.rounded_weights)
    if "quantile" in expected:
        x = expected["quantile"]["x"]
        expected["quantile"]["x"] = dataclasses.replace(x, allowed=x.allowed + _steps(contract))
    _check_comparable(expected["log_prob"]["log_prob"])
    expected[SERVING_DEFAULT] = expected["log_prob"]
    return expected


def _steps(contract: Contract) -> Array:
    """`[D]`: a value between two multiples of a column's width may be rounded to either."""
    rounded_to = contract.answers.rounded_to if contract.answers else {}
    return np.array([rounded_to.get(name, 0.0) for name in contract.event_columns])


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
    """The signatures but those that have a verification of their own."""
    others = (*RAW, *BY_COLUMN, SUMMARIZE, IN_RANGE)
    return {name: signature for name, signature in contract.signatures.items() if name not in others}


def _requests(contract: Contract, inputs: VerificationInputs) -> Iterator[Request]:
    for name in _with_conditions(contract):
        arrays = inputs.of_signature(contract, name)
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
    model: Reference, contract: Contract, inputs: VerificationInputs, replies: Replies
) -> dict[str, dict[str, dict[str, Expectation]]]:
    """By loader and signature, the log-density that the model gives the x of draws.

    Of seeded ones also how far rounding moves the x that the same seeds give in another batch or loader: a draw is dear
    in TFP, so that is asked of the z that the draws of one loader come of.
    """
    condition = {name: value for name, value in inputs.arrays.items() if name == "conditional_input"}
    names = [name for name in _DRAWS if name in contract.signatures]
    x = {(loader, name): {"x": replies.output(loader, name, "x"), **condition} for loader in LOADERS for name in names}
    asked: dict[str, Asked] = {"|".join(key): (model.functions["log_prob"], drawn) for key, drawn in x.items()}
    if _SEEDED in names:
        z = {"z": model.functions["inverse"](x[LOADERS[0], _SEEDED])["z"], **condition}
        asked[_PLACE] = (model.functions["forward"], z)
    expected = expect_all(asked, np.random.default_rng(0), model.rounded_weights)
    of_draws = {loader: {name: expected[f"{loader}|{name}"] for name in names} for loader in LOADERS}
    if _SEEDED in names:
        place = expected[_PLACE]["x"]
        for by_name in of_draws.values():
            by_name[_SEEDED]["x"] = dataclasses.replace(place, allowed=place.allowed + _steps(contract))
    return of_draws


def _with_model(
    replies: Replies, expected: Mapping[str, Mapping[str, Expectation]], loader: str
) -> Iterator[Comparison]:
    for name, outputs in expected.items():
        for output, values in outputs.items():
            if name in _DRAWS and output == "x":
                continue  # the model has no x of its own for a seed
            actual = replies.output(loader, name, output)
            yield compare_values(actual, values, signature=name, output=output, against="model", loader=loader)


def _with_other_batch(
    replies: Replies, contract: Contract, expected: Mapping[str, Mapping[str, Expectation]], loader: str
) -> Iterator[Comparison]:
    for name, signature in _with_conditions(contract).items():
        if name == "sample":
            continue
        for output in signature.outputs:
            whole = dataclasses.replace(expected[name][output], values=replies.output(loader, name, output))
            for suffix in _other_batches(name):
                taken = _other_rows(len(whole.values), suffix)
                rows = whole.take(taken)
                actual = replies.output(loader, name + suffix, output)[1:]
                if name == _SEEDED and output == "log_prob" and _steps(contract).any():
                    x, other = replies.output(loader, name, "x"), replies.output(loader, name + suffix, "x")[1:]
                    rows = dataclasses.replace(rows, rows=rows.rows & (x[taken] == other).all(axis=1))
                yield compare_values(actual, rows, signature=name, output=output, against="batch", loader=loader)


def _with_first_loader(
    replies: Replies, contract: Contract, draws: Mapping[str, Mapping[str, Expectation]], loader: str
) -> Iterator[Comparison]:
    """A seed's draw is the same whatever loads the version; the model has none of its own to compare with."""
    name, output = _SEEDED, "x"
    if name in contract.signatures and loader != LOADERS[0]:
        first = dataclasses.replace(draws[name][output], values=replies.output(LOADERS[0], name, output))
        actual = replies.output(loader, name, output)
        yield compare_values(actual, first, signature=name, output=output, against="loader", loader=loader)


def _check_freshness(replies: Replies, contract: Contract) -> None:
    smooth = _steps(contract) == 0  # counts repeat
    if "sample" not in contract.signatures or not smooth.any():
        return
    for loader in LOADERS:
        first, second = (replies.output(loader, name, "x")[:, smooth] for name in ("sample", "sample" + _AGAIN))
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
