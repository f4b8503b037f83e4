"""An exported version in this process: its SavedModel, loaded, and its signatures run on arrays.

TensorFlow is imported by what loads a model, not with this module; TensorFlow Probability never.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from maf_serving.errors import JobError
from maf_serving.quiet_tensorflow import keras_later

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

_LOGGER = logging.getLogger(__name__)
_OF_TWO_EXPORTS = "its contract.json says otherwise: the two are not of one export; export the model again"


_loading = threading.Lock()
_loaded: dict[str, LoadedModel] = {}


def load_once(name: str, load: Callable[[], LoadedModel]) -> LoadedModel:
    """The model of that name in this process: loaded by who first asks for it, while others wait."""
    with _loading:
        if name not in _loaded:
            _loaded[name] = load()
        return _loaded[name]


class LoadedModel:
    """A loaded SavedModel; it owns the variables of its signatures. Threads may share it."""

    def __init__(self, model: Any) -> None:
        """Takes what `tf.saved_model.load` gives, or anything with `signatures`: concrete functions by name."""
        self._model = model

    @classmethod
    def load(cls, directory: str | Path, *, threads: int | None = None) -> LoadedModel:
        """Loads the SavedModel in a directory of this machine. Takes seconds, most of them to import TensorFlow.

        Args:
          directory: of the version.
          threads: of TensorFlow in this process; `None` for its own choice, and without effect once it runs.
        """
        with keras_later():
            import tensorflow as tf  # noqa: PLC0415  # seconds

        if threads is not None:
            _limit_threads(tf, threads)
        return cls(tf.saved_model.load(str(directory)))

    def run(
        self, signature_name: str, inputs: Mapping[str, npt.NDArray[np.generic]], **more: Any
    ) -> dict[str, npt.NDArray[Any]]:
        """The outputs of a signature by name, `[B, ...]`. Another number of rows does not retrace.

        Raises:
          JobError: the model has no such signature, or it takes other inputs.
        """
        import tensorflow as tf  # noqa: PLC0415  # loaded by `load`

        signature = self._signature(signature_name)
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        _check_inputs(signature_name, signature, tensors)
        outputs = signature(**tensors, **more)
        return {name: output.numpy() for name, output in outputs.items()}

    def _signature(self, name: str) -> Any:
        if name not in self._model.signatures:
            raise JobError(f"saved_model.pb has no signature {name!r}; {_OF_TWO_EXPORTS}")
        return self._model.signatures[name]


def _check_inputs(signature_name: str, signature: Any, tensors: Mapping[str, Any]) -> None:
    """Raises `JobError` unless inputs are what the graph takes: TensorFlow does not ask, and may broadcast."""
    for name, spec in signature.structured_input_signature[1].items():
        came = tensors.get(name)
        if came is None or came.dtype != spec.dtype or not spec.shape.is_compatible_with(came.shape):
            what = "none" if came is None else f"{came.dtype.name} {came.shape}"
            raise JobError(
                f"saved_model.pb takes {name} of {spec.dtype.name} {spec.shape} in {signature_name!r} and got {what}; "
                f"{_OF_TWO_EXPORTS}"
            )


def _limit_threads(tf: Any, threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # TensorFlow has run in this process before
        _LOGGER.info("TensorFlow is running already; its thread pools stay as they are")
