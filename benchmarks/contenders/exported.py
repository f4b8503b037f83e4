"""The exported functions, reloaded from the SavedModel as a server loads them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from benchmarks.tfp_flow import build_flow
from export.base_sampler import make_base_sampler
from export.compiled.compile_density import compile_density
from export.serving_module import ServingFunctions, trace, write_saved_model
from export.signatures import make_signatures

if TYPE_CHECKING:
    from benchmarks.case import Case

PACKAGES = ("tensorflow",)
MODE = "signatures of the reloaded SavedModel"
WEIGHTS = "TFP's"


class Flow:
    """Two signatures of a SavedModel."""

    def __init__(self, case: Case) -> None:
        distribution = build_flow(case)
        wanted = make_signatures(
            event_size=case.event_size, condition_size=case.condition_size, dtype="float32", sampling=("sample",)
        )
        functions = ServingFunctions(compile_density(distribution), make_base_sampler(distribution.distribution))
        with tempfile.TemporaryDirectory() as directory:
            signatures = {name: wanted[name] for name in ("log_prob", "sample")}
            write_saved_model(trace(functions, signatures), Path(directory))
            self._loaded = tf.saved_model.load(directory)  # owns the variables

    def log_prob(self, x: Any, conditional_input: Any) -> Callable[[], Any]:
        """Calls `log_prob`."""
        inputs = {"x": tf.constant(x), "conditional_input": tf.constant(conditional_input)}
        signature = self._loaded.signatures["log_prob"]

        def log_prob() -> Any:
            return signature(**inputs)["log_prob"].numpy()

        return log_prob

    def sample(self, conditional_input: Any) -> Callable[[], Any]:
        """Calls `sample`, which computes the log-density of the draws as well."""
        inputs = {"conditional_input": tf.constant(conditional_input)}
        signature = self._loaded.signatures["sample"]

        def sample() -> Any:
            return signature(**inputs)["x"].numpy()

        return sample


build = Flow
