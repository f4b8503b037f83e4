"""The JSON of a `:predict` request: rows (`instances`) or columns (`inputs`), as tensors by input name."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.json_document import parse_document
from serving_config.local_server.json_tensors import is_base64, regular_tensor, shape_of, tensor
from serving_config.local_server.json_text import shown

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array


class Layout(enum.Enum):
    """How a request lays out its tensors; the answer is laid out alike."""

    ROWS = "instances"
    COLUMNS = "inputs"


def parse_request(body: bytes) -> tuple[dict[str, Any], str]:
    """The request object and its signature name, empty for the default. Raises `RequestError`."""
    document = parse_document(body)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {shown(document)} Is not object")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid_argument(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document, signature


def predict_inputs(document: Mapping[str, Any], infos: Mapping[str, Any]) -> tuple[Layout, dict[str, Array]]:
    """The tensors of a request, for the inputs of a signature.

    Args:
      document: the request object.
      infos: `TensorInfo` by input name.

    Raises:
      RequestError: if they do not fit.
    """
    rows, columns = (layout.value in document for layout in Layout)
    if rows and columns:
        raise _malformed(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if rows:
        instances = document[Layout.ROWS.value]
        if not isinstance(instances, list):
            raise _malformed(document, "Excepting 'instances' to be an list/array")
        if not instances:
            raise _malformed(document, "No values in 'instances' array")
        return Layout.ROWS, _from_rows(instances, infos)
    if columns:
        return Layout.COLUMNS, _from_columns(document[Layout.COLUMNS.value], infos)
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _from_columns(inputs: Any, infos: Mapping[str, Any]) -> dict[str, Array]:
    if isinstance(inputs, dict) and not is_base64(inputs):
        columns = {}
        for name in sorted(infos):
            if name not in inputs:
                raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
            columns[name] = tensor(inputs[name], infos[name].dtype)
        return columns
    if len(infos) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    return {name: tensor(inputs, info.dtype) for name, info in infos.items()}


def _from_rows(instances: list[Any], infos: Mapping[str, Any]) -> dict[str, Array]:
    if len(infos) > 1 and not isinstance(instances[0], dict):
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_named(instances[0])
    if named and all(type(row) is dict and row.keys() == infos.keys() for row in instances):
        values = {name: [row[name] for row in instances] for name in infos}
    else:
        values = {} if named else dict.fromkeys(infos, instances)
    columns = {
        name: regular_tensor(value, (len(instances), *shape_of(value[0])), infos[name].dtype)
        for name, value in values.items()
    }
    regular = {name: column for name, column in columns.items() if column is not None}
    return regular if len(regular) == len(infos) else _row_by_row(instances, infos)


def _row_by_row(instances: list[Any], infos: Mapping[str, Any]) -> dict[str, Array]:
    """Slowly, but says which row is wrong, and takes base64."""
    named = _is_named(instances[0])
    found: dict[str, list[Array]] = {}
    for number, row in enumerate(instances):
        if named != _is_named(row):
            kinds = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(f"Expecting {kinds[0]} but got {kinds[1]} at item {number} of input list")
        members = row if named else {next(iter(infos)): row}
        for name, value in members.items():
            try:
                _add(found, name, value, infos)
            except RequestError as error:
                key = f" key: {name}" if named else ""
                raise invalid_argument(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: {error.code.name}: "
                    f"{error.message}"
                ) from error
        if members.keys() != infos.keys():
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. JSON object: {shown(row)} keys must be "
                f"equal to: {','.join(sorted(infos))}"
            )
    return {name: np.stack(tensors) for name, tensors in found.items()}


def _add(found: dict[str, list[Array]], name: str, value: Any, infos: Mapping[str, Any]) -> None:
    if name not in infos:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    array = tensor(value, infos[name].dtype)
    earlier = found.setdefault(name, [])
    if earlier and earlier[0].size != array.size:
        raise invalid_argument(f"Expecting tensor size: {earlier[0].size} but got: {array.size}")
    if earlier and earlier[0].shape != array.shape:
        shapes = ["[" + ",".join(map(str, each.shape)) + "]" for each in (earlier[0], array)]
        raise invalid_argument(f"Expecting shape {shapes[0]} but got: {shapes[1]}")
    earlier.append(array)


def _is_named(row: Any) -> bool:
    return isinstance(row, dict) and not is_base64(row)


def _malformed(document: Mapping[str, Any], complaint: str) -> RequestError:
    return invalid_argument(f"JSON Value: {shown(document)} {complaint}")
