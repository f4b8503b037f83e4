"""The model that a job uses: found, and its columns matched with the input's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from beam_jobs.errors import UsageError
from beam_jobs.model_location import ModelLocation, find_model_location
from export.contract import Contract, ContractError
from maf_serving.model_inputs import ModelInputs, model_inputs, renamed_columns

if TYPE_CHECKING:
    from beam_jobs.options.job_options import JobOptions


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """What `find_model` found.

    Attributes:
      location: the model version to use.
      contract: its contract.
      signature_name: the signature to run.
      inputs: the input columns that its inputs are made of.
      event_columns: the input's names of its event columns, whether or not they are read.
    """

    location: ModelLocation
    contract: Contract
    signature_name: str
    inputs: ModelInputs
    event_columns: tuple[str, ...]


def find_model(options: JobOptions, *, signature_name: str) -> PlannedModel:
    """The model that the options name. Raises as `match_model`."""
    return match_model(
        options.model,
        signature_name=signature_name,
        event_columns=options.event_columns,
        conditional_columns=options.conditional_columns,
        rename=options.rename,
    )


def match_model(
    model: str,
    *,
    signature_name: str,
    event_columns: tuple[str, ...],
    conditional_columns: tuple[str, ...],
    rename: tuple[tuple[str, str], ...] = (),
) -> PlannedModel:
    """Finds the version and reads its contract. Raises `UsageError` if there is none, or it lacks the signature."""
    try:
        location, contract = find_model_location(model)
        if rename:
            event_columns, conditional_columns = renamed_columns(contract, rename)
        inputs = model_inputs(
            contract, signature_name, event_columns=event_columns, conditional_columns=conditional_columns
        )
    except ContractError as error:
        raise UsageError(str(error)) from error
    return PlannedModel(
        location=location,
        contract=contract,
        signature_name=signature_name,
        inputs=inputs,
        event_columns=event_columns or contract.event_columns,
    )
