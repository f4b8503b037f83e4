"""Conditional density models in production: train, export, serve and score them.

    >>> model = ms.load("models/sales")
    >>> model.log_prob({"price": [9.5], "season": [1.0], "region": ["north"]}).type
    DataType(float)

Importing this loads nothing heavy: a name is imported when it is first used.

The modules of this package are the ground floor that `maf`, `export`, `beam_jobs` and `serving_config` share; none of
them imports one of the four, nor TensorFlow, TensorFlow Probability or Beam when it is imported. `front/` alone does,
in its functions: the names below are there. Read first: `front/model.py`, `errors.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maf_serving import errors
from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from maf_serving.front.model import Model, load

__all__ = [
    "Model",
    "errors",
    "load",
]

_find, __dir__ = lazy_names(
    __name__,
    {
        "maf_serving.front.model": ["Model", "load"],
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        import importlib.metadata  # noqa: PLC0415  # 20 ms

        return importlib.metadata.version("maf-serving")
    return _find(name)
