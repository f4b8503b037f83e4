"""Numbers for the values of a category column, while its rows stream by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from maf.errors import DataError
from maf_serving.arrow_columns import to_categories, to_integers
from maf_serving.columns import OTHER

Array = np.ndarray[Any, Any]
MOST_DISTINCT = 100_000  # values that are kept in memory while they are counted
NULL_CODE = -1


class CategoryCodes:
    """Codes of the values of one column: of a vocabulary, or in the order in which values first come.

    With a vocabulary every other value has one code, the one after its last. Without, a column of more than
    `MOST_DISTINCT` values is refused: what is different in nearly every row is no category, and would fill the memory.
    """

    def __init__(self, name: str, kind: str, vocabulary: Sequence[Any] | None = None) -> None:
        """`kind` is `"string"` or `"integer"`."""
        self._name = name
        self._kind = kind
        self._codes: dict[Any, int] = {value: code for code, value in enumerate(vocabulary or ())}
        self._other = None if vocabulary is None else len(vocabulary)

    def __call__(self, column: pa.Array) -> Array:
        """`[n]` float64, NaN for null. What is no value of the kind is one: `Table` has refused it before."""
        clean = to_integers(column).values if self._kind == "integer" else to_categories(column, self._kind).text
        encoded = clean.dictionary_encode()
        codes = np.array([self._code(value) for value in encoded.dictionary.to_pylist()], np.float64)
        indices = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
        of_rows: Array = np.append(codes, np.nan)[indices]
        return of_rows

    def choose(self, counts: Array, *, most: int, least: int) -> tuple[tuple[Any, ...], Array]:
        """The values worth an entry of their own, most frequent first, and what the codes so far become.

        Args:
          counts: by code, how many training rows have it; codes past its end have none.
          most: values to keep.
          least: training rows that a value needs.

        Returns:
          The vocabulary, and the place in it of each code so far; the one after its last for all others.
        """
        candidates = [
            (-int(counts[code]), value)
            for value, code in self._codes.items()
            if code < len(counts) and counts[code] >= least and value != OTHER  # the name of all others
        ]
        vocabulary = tuple(value for _, value in sorted(candidates)[:most])
        if not vocabulary:
            raise DataError(
                f"no value of conditional column {self._name!r} is in {least} training rows; leave the column out, "
                "group its values, or lower --min_category_rows"
            )
        places = {value: place for place, value in enumerate(vocabulary)}
        return vocabulary, np.array([places.get(value, len(vocabulary)) for value in self._codes])

    def _code(self, value: Any) -> int:
        if self._other is not None:
            return self._codes.get(value, self._other)
        code = self._codes.setdefault(value, len(self._codes))
        if code >= MOST_DISTINCT:
            raise DataError(
                f"conditional column {self._name!r} has more than {MOST_DISTINCT:,} different values; a category is "
                "one of few: leave the column out, or group its values"
            )
        return code
