"""From a trained TFP distribution to a verified version in a model's base directory."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.answer_functions import AnswerFunctions, AnswerPlan, ColumnTensors, column_signatures, plan_answers
from export.base_sampler import BaseSampler, make_base_sampler
from export.check_model import check_model, check_weights
from export.compiled.compile_density import compile_density
from export.compiled.rows import in_chunks
from export.contract import (
    BY_COLUMN,
    CONTRACT_PATH,
    IN_RANGE,
    SERVING_DEFAULT,
    WARM,
    ConditionColumn,
    Contract,
    ContractError,
    Signature,
    TrainingSummary,
)
from export.derivations import Derivation, shared
from export.errors import ExportWarning, ModelError, PublishError
from export.publish import LocalBase, RemoteBase, open_base
from export.raw_inputs import ConditionGraph, RawExamples, encoded_bounds_of, is_in_range, null_values
from export.serving_module import ServingFunctions, captured_variables, trace, trace_ends, write_saved_model
from export.session_graph import prepare_graph
from export.signatures import (
    check_batch_sizes,
    chosen_signatures,
    make_signatures,
    sampling_signatures,
    warm_signatures,
    warmup_requests,
    write_warmup,
)
from export.source import DEVICES, QUANTILE_LEVELS, SUMMARY_DRAWS, ExportOptions, TrainedModel
from export.verification.comparison import LiveModel
from export.verification.inputs import VerificationInputs, draw_inputs, typical_conditions
from export.verification.replay import fresh_process
from export.verification.verification import VerificationReport, verify
from maf_serving.batching import BATCHING_PATH, BatchingParameters
from maf_serving.columns import TAKEN_NAMES, as_condition_columns, tensor_names
from maf_serving.command import sigterm_raises, silent
from maf_serving.errors import one_line

_PROBED_CONDITIONS = 32
_NOT_CHOSEN = "the version was exported without it; name it in --signatures"


@dataclasses.dataclass(frozen=True, slots=True)
class ExportedVersion:
    """A published version and what its verification measured. A remote directory is a text: it is no path here."""

    version_dir: Path | str
    report: VerificationReport


def export_saved_model(
    distribution: Any,
    model_base: str | Path,
    *,
    event_columns: Sequence[str],
    conditional_columns: Sequence[str] = (),
    condition_columns: Sequence[ConditionColumn] = (),
    version: int | None = None,
    training: TrainingSummary | None = None,
    signatures: Sequence[str] | None = None,
    warmup_batch_sizes: Sequence[int] = (1,),
    warmup_signatures: Sequence[str] | None = WARM,
    batching: BatchingParameters | None = None,
    quantile_levels: Sequence[float] = QUANTILE_LEVELS,
    summary_draws: int = SUMMARY_DRAWS,
    device: str = DEVICES[0],
) -> Path | str:
    """Exports p(x | c) as a SavedModel for TF Serving, verified against the model, as the next version in `model_base`.

        version_dir = export_saved_model(
            distribution, "models/demo", event_columns=["x0", "x1"], conditional_columns=["c0"]
        )

    This is `export_model` of a distribution in this process.

    Args:
      distribution: the trained distribution, see `TrainedModel`.
      model_base: directory of the model's versions, see `export_model`.
      event_columns: names of the D columns of `x`, in order.
      conditional_columns: names of the C columns of `conditional_input`, in order; none for an unconditional model.
      condition_columns: instead of these, the raw columns of the condition where categories or columns with nulls are
        among them: the model then takes them as `ConditionColumn` says, and the version takes them raw too.
      version: number of the version, see `ExportOptions`.
      training: how the model was trained, see `TrainedModel`.
      signatures: names of those to offer, see `ExportOptions`.
      warmup_batch_sizes: rows of the warm-up requests, see `ExportOptions`.
      warmup_signatures: names of those that are warmed up, see `ExportOptions`.
      batching: how a server gathers requests, see `ExportOptions`.
      quantile_levels: of `summarize`, see `ExportOptions`.
      summary_draws: of `summarize`, see `ExportOptions`.
      device: `"cpu"` or `"gpu"`, see `ExportOptions`.

    Returns:
      The version's directory, a text if it is remote.

    Raises:
      ContractError: if the columns are no list of different names, or of the condition both lists are given.
      ExportError: as `export_model` does.
    """
    if conditional_columns and condition_columns:
        raise ContractError(
            f"got {len(conditional_columns)} conditional_columns and {len(condition_columns)} condition_columns; "
            "expected one of them: condition_columns where there are categories or nulls"
        )
    model = TrainedModel(
        distribution=distribution,
        event_columns=tuple(event_columns),
        condition_columns=as_condition_columns(condition_columns or conditional_columns),
        training=training,
    )
    options = ExportOptions(
        version=version,
        signatures=None if signatures is None else tuple(signatures),
        warmup_batch_sizes=tuple(warmup_batch_sizes),
        warmup_signatures=None if warmup_signatures is None else tuple(warmup_signatures),
        quantile_levels=tuple(quantile_levels),
        summary_draws=summary_draws,
        device=device,
        batching=batching,
    )
    return export_model(model, model_base, options).version_dir


def export_model(
    model: TrainedModel,
    model_base: str | Path,
    options: ExportOptions | None = None,
    *,
    announce: Callable[[str], object] = silent,
) -> ExportedVersion:
    """Exports a model as a SavedModel for TF Serving, verified against it, as the next version in `model_base`.

        exported = export_model(RunSource(Path("runs/sales")).load(), "models/sales", ExportOptions(version=1))
        exported.version_dir  # PosixPath('models/sales/1')
        exported.report.comparisons[0].worst  # 0.02 of what is allowed

    Either the whole version appears, or nothing: it is written under a name that TF Serving ignores and renamed once a
    fresh process has reloaded it and agreed with TFP. To a remote base (`gs://...`) it is copied then, with
    `saved_model.pb` last. Takes about half a minute on two cores, less for fewer signatures.

    Args:
      model: what a source loads to, or made of a distribution in this process.
      model_base: directory of the model's versions, made if need be; local, or remote with a scheme that
        `tf.io.gfile` knows.
      options: number of the version, warm-up and batching; by default the next one, with a request of one row.
      announce: takes a line for each step, before it begins.

    Raises:
      RoutingError: if two conditional layers share a name.
      ModelError: if the distribution does not fit the columns or cannot be exported.
      OptionError: if the warm-up batch sizes are no numbers of rows that a server takes, or make too many records.
      PublishError: if the version exists, or the directory cannot be written to.
      VerificationError: if the exported version does not compute what the model computes.
    """
    options = options or ExportOptions()
    distribution = model.distribution
    check_model(distribution, model.event_columns, model.conditional_columns)
    check_weights(distribution.variables)
    base = _open_base(model_base, options.version)
    sampler = _base_sampler_or_warning(distribution)
    plan = _plan_answers(model, options)
    contract = _make_contract(model, sampler, plan, options.signatures)
    warm = warm_signatures(contract, options.warmup_signatures)
    check_batch_sizes(options.warmup_batch_sizes, warm, options.batching)
    with fresh_process() as replay:
        # owns the variables and tables that the graphs read
        announce(f"compiling the model and tracing {len(contract.signatures)} signatures")
        functions = _serving_functions(plan, sampler, contract)
        derived = shared(functions.derived, contract.signatures)
        with in_chunks(wanted=options.device == DEVICES[0]):
            concrete_functions = trace(functions, contract.signatures)
            ends_of_derived = trace_ends(derived, contract.signatures)
        check_weights(captured_variables(concrete_functions))
        live = LiveModel(distribution)
        try:
            with sigterm_raises(), base.staging() as staged, ThreadPoolExecutor(max_workers=1) as background:
                announce("writing the SavedModel and its warm-up requests")
                write_saved_model(concrete_functions | ends_of_derived, staged, tables=functions.tables)

                def prepare_and_load() -> None:
                    prepare_graph(staged, contract, derived)
                    replay.load(staged)

                prepared = background.submit(prepare_and_load)
                inputs = _draw_inputs(live, contract)  # traces TFP's graph: what runs beside it is C++
                warmup = warmup_requests(contract, inputs, options.warmup_batch_sizes, warm)
                prepared.result()
                _write_contract(contract, staged)
                write_warmup(staged, contract, warmup)
                if options.batching is not None:
                    (staged / BATCHING_PATH).write_text(options.batching.to_text(), encoding="utf-8")
                announce("verifying it in a fresh process, against the model in TensorFlow Probability")
                report = verify(live, staged, inputs, replay)
                report.require_agreement()
                announce("publishing it")
                return ExportedVersion(base.publish(staged, options.version), report)
        except (OSError, tf.errors.OpError) as error:
            raise _cannot_take(model_base, error) from error


@dataclasses.dataclass(frozen=True, slots=True)
class InProcess:
    """What an export would offer, in this process.

    Attributes:
      contract: of the export.
      signatures: concrete functions by name, as a loaded SavedModel has them; each is made when it is first asked for.
      functions: own what the graphs read: a graph refers to variables and lookup tables, and does not keep them.
    """

    contract: Contract
    signatures: Mapping[str, Any]
    functions: ServingFunctions


def functions_in_process(model: TrainedModel) -> InProcess:
    """What an export of the model would offer, without writing or verifying anything.

    Raises:
      ContractError, RoutingError, ModelError: as `export_model` does.
    """
    distribution = model.distribution
    check_model(distribution, model.event_columns, model.conditional_columns)
    sampler = _base_sampler_or_warning(distribution)
    plan = _plan_answers(model, ExportOptions())
    contract = _make_contract(model, sampler, plan)
    functions = _serving_functions(plan, sampler, contract)
    return InProcess(contract, _TracedWhenAsked(functions, contract.signatures), functions)


class _TracedWhenAsked(Mapping[str, Any]):
    """Concrete functions by name: to trace all takes seconds, and who asks for densities needs one."""

    def __init__(self, functions: ServingFunctions, signatures: Mapping[str, Signature]) -> None:
        self._functions = functions
        self._signatures = signatures
        self._traced: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Any:
        with self._lock:
            if name not in self._traced:
                asked = "log_prob" if name == SERVING_DEFAULT else name
                self._traced[name] = trace(self._functions, {asked: self._signatures[asked]})[asked]
            return self._traced[name]

    def __contains__(self, name: object) -> bool:
        return name in self._signatures

    def __iter__(self) -> Iterator[str]:
        return iter(self._signatures)

    def __len__(self) -> int:
        return len(self._signatures)


def _plan_answers(model: TrainedModel, options: ExportOptions) -> AnswerPlan:
    size = len(model.conditional_columns)
    rng = np.random.default_rng(0)
    plan = plan_answers(
        model.distribution,
        model.event_columns,
        conditions=typical_conditions(model.distribution, size, _PROBED_CONDITIONS, rng) if size else None,
        quantile_levels=options.quantile_levels,
        summary_draws=options.summary_draws,
        dequantization=model.training.dequantization if model.training else {},
    )
    for reasons in dict.fromkeys(plan.answers.left_out.values()):
        names = ", ".join(plan.answers.left_out)
        warnings.warn(f"the signatures {names} are left out: {reasons}", ExportWarning, stacklevel=4)
    return plan


def _serving_functions(plan: AnswerPlan, sampler: BaseSampler | None, contract: Contract) -> ServingFunctions:
    density = compile_density(plan.distribution)
    raw = _raw_examples(plan.distribution, contract)
    functions = ServingFunctions(density, sampler, raw, widths=plan.widths)
    answers = AnswerFunctions(plan, density.forward, functions)
    functions.more |= answers.by_name
    functions.derived["conditional_cdf"] = Derivation("inverse", after=answers.of_base)
    if IN_RANGE in contract.signatures:
        functions.more[IN_RANGE] = is_in_range(*encoded_bounds_of(contract))
    columns = ColumnTensors(contract, raw.condition if raw else None)
    for name, vector in BY_COLUMN.items():
        if name in contract.signatures:
            functions.derived[name] = columns.derived(vector)
    return functions


def _open_base(model_base: str | Path, version: int | None) -> LocalBase | RemoteBase:
    try:
        return open_base(model_base, version)
    except tf.errors.OpError as error:
        raise _cannot_take(model_base, error) from error


def _draw_inputs(live: LiveModel, contract: Contract) -> VerificationInputs:
    try:
        return draw_inputs(live, contract, seed=0)
    except tf.errors.OpError as error:
        raise ModelError(f"the model fails at typical inputs of its own: {one_line(error)}") from error


def _cannot_take(model_base: str | Path, error: Exception) -> PublishError:
    message = one_line(error)
    return PublishError(f"model base {str(model_base)!r} cannot take the version, nothing is published: {message}")


def _base_sampler_or_warning(distribution: Any) -> BaseSampler | None:
    try:
        return make_base_sampler(distribution.distribution)
    except ModelError as error:
        warnings.warn(f"the sampling signatures are left out: {error}", ExportWarning, stacklevel=4)
        return None


def _make_contract(
    model: TrainedModel, sampler: BaseSampler | None, plan: AnswerPlan, chosen: Sequence[str] | None = None
) -> Contract:
    raw = () if all(column.is_plain for column in model.condition_columns) else model.condition_columns
    condition_size = len(model.conditional_columns)
    dtype = model.distribution.dtype.name
    signatures = make_signatures(
        event_size=len(model.event_columns),
        condition_size=condition_size,
        dtype=dtype,
        sampling=sampling_signatures(condition_size) if sampler else (),
        condition_columns=raw,
        answering=plan.names,
        num_quantiles=len(plan.answers.quantile_levels),
        has_ranges=bool(condition_size and model.training is not None and model.training.profile is not None),
    )
    columns = (*model.event_columns, *(column.name for column in model.condition_columns))
    names = tensor_names(columns, TAKEN_NAMES)
    signatures |= column_signatures(signatures, model.event_columns, model.condition_columns, names, dtype)
    signatures, all_of_them = chosen_signatures(signatures, chosen), signatures
    not_chosen = {name: _NOT_CHOSEN for name in plan.names if name in all_of_them.keys() - signatures.keys()}
    answers = dataclasses.replace(plan.answers, left_out={**plan.answers.left_out, **not_chosen})
    return Contract(
        event_columns=model.event_columns,
        conditional_columns=model.conditional_columns,
        dtype=dtype,
        signatures=signatures,
        toolkit_version=importlib.metadata.version("maf-serving"),
        tensorflow_version=tf.__version__,
        training=model.training,
        condition_columns=raw,
        answers=answers,
        tensor_names=names,
    )


def _raw_examples(distribution: Any, contract: Contract) -> RawExamples | None:
    columns = contract.condition_columns
    if not columns:
        return None
    condition = ConditionGraph(columns, null_values(distribution, columns), contract.dtype)
    return RawExamples(contract.event_columns, condition, contract.dtype)


def _write_contract(contract: Contract, directory: Path) -> None:
    path = directory / CONTRACT_PATH
    path.parent.mkdir(exist_ok=True)
    path.write_text(contract.to_json(), encoding="utf-8")
