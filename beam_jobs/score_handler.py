"""What scores a batch: the SavedModel in a worker, or a model server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beam_jobs.endpoint.endpoint_handler import EndpointHandler
from beam_jobs.model_handler import SavedModelHandler
from maf_serving.model_inputs import ENCODE_CONDITION

if TYPE_CHECKING:
    from beam_jobs.options.endpoint_options import EndpointOptions
    from beam_jobs.planned_model import PlannedModel


def make_score_handler(
    model: PlannedModel, endpoint: EndpointOptions | None, *, threads: int | None
) -> SavedModelHandler | EndpointHandler:
    """The handler of the endpoint, or of the model itself without one."""
    if endpoint is None:
        return SavedModelHandler(model.location, signature_name=model.signature_name, threads=threads)
    return _make_endpoint_handler(model, endpoint)


def check_endpoint(model: PlannedModel, endpoint: EndpointOptions) -> None:
    """Asks the server for a row. Raises as `EndpointHandler.probe`."""
    _make_endpoint_handler(model, endpoint).probe()


def _make_endpoint_handler(model: PlannedModel, endpoint: EndpointOptions) -> EndpointHandler:
    names = [model.signature_name, *([ENCODE_CONDITION] if model.inputs.condition else [])]
    signatures = {name: model.contract.signature(name) for name in names}
    return EndpointHandler(endpoint, signature_name=model.signature_name, signatures=signatures)
