"""Exporting in Python, a run or any trained distribution, to a version that servers and jobs take; and loading one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maf_serving.columns import ConditionColumn, as_condition_columns
from maf_serving.errors import UsageError
from maf_serving.front.model import Model
from maf_serving.front.tables import column_names
from maf_serving.front.training import Run
from maf_serving.quiet_tensorflow import import_quietly, import_with_probability
from maf_serving.saved_model import LoadedModel

if TYPE_CHECKING:
    from export.source import TrainedModel
    from maf_serving.batching import BatchingParameters


def export(
    model: Any,
    model_base: str | Path,
    *,
    event: Sequence[str] | str = (),
    condition: Sequence[str | ConditionColumn] | str = (),
    version: int | None = None,
    signatures: Sequence[str] | None = None,
    warmup_batch_sizes: Sequence[int] = (1,),
    warmup_signatures: Sequence[str] | None = ("log_prob", "serving_default", "sample_with_seed"),
    batching: BatchingParameters | None = None,
    quantile_levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
    summary_draws: int = 1024,
    device: str = "cpu",
) -> Path | str:
    """Exports a model as the next version in its base directory, verified against the model before it appears.

        >>> version = ms.export("runs/sales", "models/sales")
        >>> version
        PosixPath('models/sales/1')

    Either the whole version appears, or nothing. Takes about half a minute: a fresh process loads the version
    and compares it with the model.

    Args:
      model: a run of `ms.train`, the path of a run directory; or a trained `tfd.TransformedDistribution`, see
        `docs/bring_your_own.md`.
      model_base: directory of the model's versions, made if need be; local, or a URL that TensorFlow can write to.
      event: for a distribution, names of the columns of x, in order; a run knows its own.
      condition: for a distribution, the columns of its condition, in order: names of plain numbers, or
        `ConditionColumn`s where categories or nulls are among them, of which the model takes the encoding.
      version: number of the version; by default one more than the greatest there is.
      signatures: names of those to offer, beside `log_prob` and what others are made of; `None` for all that the model
        can have. Each costs a second or so of the export, and of a server that loads the version.
      warmup_batch_sizes: numbers of rows of the requests that a server answers before it calls the version available.
      warmup_signatures: names of the signatures of these requests, as far as the version has them; `None` for all. The
        first request of another is slow.
      batching: how a server with per-model batching gathers requests.
      quantile_levels: levels of the quantiles that `summarize` answers with.
      summary_draws: draws of each row that `summarize` is made of, for several event columns.
      device: `"cpu"` or `"gpu"`, what the server computes with.

    Returns:
      The version's directory; a text if it is at a URL.

    Raises:
      UsageError: columns or options do not fit the model, or the run is not finished.
      JobError: the model cannot be exported, the directory cannot be written to, or the verification has failed.
    """
    from export.source import ExportOptions  # noqa: PLC0415  # the packages above, when they are needed

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
    trained = _trained(
        model, column_names(event), as_condition_columns([condition] if isinstance(condition, str) else condition)
    )
    from export.saved_model import export_model  # noqa: PLC0415  # TensorFlow

    return export_model(trained, model_base, options).version_dir


def _trained(model: Any, event: tuple[str, ...], condition: tuple[ConditionColumn, ...]) -> TrainedModel:
    from export.source import RunSource, TrainedModel, model_of_run  # noqa: PLC0415

    if isinstance(model, (Run, str, Path)):
        if event or condition:
            raise UsageError(f"export() got event or condition with {model!r}; a run knows its columns: leave both out")
        import_with_probability()
        return model_of_run(model.trained) if isinstance(model, Run) else RunSource(Path(model)).load()
    if not event:
        raise UsageError(
            f"export() got a {type(model).__name__} and no event; expected a run, or a distribution with event=[...]"
        )
    return TrainedModel(distribution=model, event_columns=event, condition_columns=condition)


def load(model: str | Path) -> Model:
    """Loads an exported model into this process, from its SavedModel alone: neither TFP nor training code is needed.

        >>> model = ms.load("models/sales")
        >>> model.contract.event_columns
        ('price',)

    Takes seconds, most of them to import TensorFlow.

    Args:
      model: a version directory, or a directory of versions, of which the newest is taken; or a URL (`gs://`, `s3://`)
        of one, which is copied to this machine first.

    Raises:
      UsageError: there is no such model, or its contract cannot be read.
    """
    if "://" in str(model):
        from beam_jobs.model.saved_model import find_model_location  # noqa: PLC0415  # the packages above, when needed

        location, contract = find_model_location(str(model))
        import_quietly()
        with location.local_copy() as directory:
            return Model(contract, LoadedModel.load(directory).run, location=location.path)
    from export.contract import find_version, read_contract  # noqa: PLC0415  # the packages above, when needed

    version_dir = find_version(model)
    contract = read_contract(version_dir)
    import_quietly()
    return Model(contract, LoadedModel.load(version_dir).run, location=str(Path(version_dir).absolute()))
