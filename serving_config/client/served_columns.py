"""Columns as a served model itself tells them: the tensors of its signatures by column, and rows as these tensors.

    client/table_columns -> ServedColumns.of(metadata) -> questions -> rows -> tensors() -> log_prob_columns, ...

The metadata of a server say how tensors are called and of what type they are. They do not say which values a category
knows, nor whether null is one of them: the server looks, and answers NaN for a row that the model cannot take. Nor do
they say which quantiles a summary has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from export.contract import BY_COLUMN
from maf_serving.answers import RowQuestion, level_name
from maf_serving.columns import NULL_INTEGER, NULL_TEXT, TAKEN_NAMES, TIMESTAMP, ConditionColumn, tensor_names
from maf_serving.time_parts import TREND
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from maf_serving.model_inputs import Array, ModelInputs
    from maf_serving.validation import ScoreableRows
    from serving_config.client.transport import Arrays, ModelMetadata, TensorInfo

_OF_VECTORS = {vector: by_column for by_column, vector in BY_COLUMN.items()}
_SCORED, _DRAWN = "log_prob_columns", "sample_columns"
_KINDS: dict[str, tuple[str, tuple[Any, ...]]] = {"string": ("string", ("",)), "int64": ("integer", (0,))}
"""By type of a tensor, the kind of its column, and a vocabulary that stands for the one that the server knows."""


@dataclasses.dataclass(frozen=True, slots=True)
class ServedColumns:
    """Columns of a table that a served model takes, and what its signatures by column call them.

    Attributes:
      served: the version that answers, and its signatures.
      tensors: by column of the table, the name of its tensor.
      event: names of the event columns in the table.
      condition: the raw columns of the condition, as far as their types tell them.
    """

    served: ModelMetadata
    tensors: Mapping[str, str]
    event: tuple[str, ...]
    condition: tuple[ConditionColumn, ...]

    @classmethod
    def of(
        cls,
        served: ModelMetadata,
        in_table: Sequence[str],
        rename: Sequence[tuple[str, str]],
        times: Collection[str] = (),
    ) -> ServedColumns | None:
        """The columns of a served model; `None` if it has no signatures by column.

        Args:
          served: what the server says of the model.
          in_table: names of the columns of the table.
          rename: pairs of the model's name of a column and the table's.
          times: names of the columns of the table that hold points in time.

        Raises:
          UsageError: the model has no column of a name that `rename` has.
        """
        if _SCORED not in served.signatures:
            return None
        taken = served.signatures[_SCORED].inputs
        drawn = served.signatures[_DRAWN].outputs if _DRAWN in served.signatures else {}
        column_of = {_tensor(name): name for name in in_table} | {name: name for name in in_table}
        for name, other in rename:
            if _tensor(name) not in taken:
                raise UsageError(f"--rename has {name!r}, which is no column of the model; it has: {', '.join(taken)}")
            column_of[_tensor(name)] = other
        columns = {tensor: column_of.get(tensor, tensor) for tensor in taken}
        place = {name: index for index, name in enumerate(in_table)}
        ordered = sorted(columns, key=lambda tensor: place.get(columns[tensor], len(place)))
        return cls(
            served,
            {columns[tensor]: tensor for tensor in ordered},
            tuple(columns[tensor] for tensor in ordered if tensor in drawn),
            tuple(_column(columns[tensor], taken[tensor], times) for tensor in ordered if tensor not in drawn),
        )

    def questions(self, vector_name: str, inputs: ModelInputs, levels: Sequence[float]) -> list[RowQuestion]:
        """As `table_columns.row_questions`, of the signature by column that does what a signature of vectors does."""
        name = self.signature_name(vector_name)
        outputs: dict[str, tuple[str, ...]] = {output: (output,) for output in self.served.signatures[name].outputs}
        if vector_name == "quantile":
            return [
                RowQuestion(
                    signature_name=name,
                    inputs=inputs,
                    outputs={self.tensors[column]: (f"{column}_{level_name(level)}",) for column in self.event},
                    constants={"probability": level},
                )
                for level in levels
            ]
        return [RowQuestion(signature_name=name, inputs=inputs, outputs=outputs)]

    def signature_name(self, vector_name: str) -> str:
        """The signature by column that does the same. Raises `UsageError` if the model has none."""
        name = _OF_VECTORS.get(vector_name)
        if name is None or name not in self.served.signatures:
            raise UsageError(
                f"version {self.served.version} of model {self.served.name} does not take {vector_name} by the names "
                "of columns; say --model DIR (an exported version), or --contract FILE"
            )
        return name

    def rows(self, rows: ScoreableRows) -> ScoreableRows:
        """The rows with a tensor `[B]` for each column among their inputs, and nothing left to encode."""
        raw: Mapping[str, Array] = {} if rows.condition is None else rows.condition.inputs
        x = rows.inputs.get("x", np.empty((len(rows), 0)))
        tensors = {self.tensors[name]: values for name, values in zip(self.event, x.T, strict=False)}
        numbers = iter(np.transpose(raw.get("numbers", ())))
        categories = iter(np.transpose(raw.get("categories", ())))
        nulls = iter(np.transpose(raw.get("null_categories", ())))
        for column in self.condition:
            if not column.is_category:
                tensors[self.tensors[column.name]] = next(numbers)
            else:
                tensors[self.tensors[column.name]] = _category(column.kind, next(categories), next(nulls))
        return dataclasses.replace(rows, inputs=tensors, condition=None)

    def points(self, drawn: Arrays) -> Array:
        """`x` `[B, D]` of draws that came as a tensor for each column."""
        return np.stack([drawn[self.tensors[column]] for column in self.event], axis=1)


def _tensor(column: str) -> str:
    return tensor_names([column], TAKEN_NAMES)[column]


def _column(name: str, info: TensorInfo, times: Collection[str]) -> ConditionColumn:
    """As far as a tensor tells; whether a number is seconds since 1970 the table does."""
    kind, vocabulary = _KINDS.get(info.dtype, ("number", ()))
    if kind == "number" and name in times:
        return ConditionColumn(name=name, kind=TIMESTAMP, parts=(TREND,), nullable=True)
    return ConditionColumn(name=name, kind=kind, vocabulary=vocabulary, nullable=True)


def _category(kind: str, values: Array, null: Array) -> Array:
    """Values `[B]`, bytes of text or of digits, as the tensor has them, null spelled as there."""
    if kind == "integer":
        return np.where(null, str(NULL_INTEGER).encode(), values).astype(np.int64)
    spelled: Array = np.where(null, NULL_TEXT.encode(), values)
    return spelled
