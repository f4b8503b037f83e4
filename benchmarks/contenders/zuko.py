"""Zuko on PyTorch, eager in inference mode, as its documentation runs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import zuko

from benchmarks.case import LAYERS, Case

PACKAGES = ("zuko", "torch")
MODE = "eager, `torch.inference_mode`"
WEIGHTS = "its own"


class Flow:
    """A `zuko.flows.MAF` with the affine transform that is its default."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self._flow = zuko.flows.MAF(
            case.event_size, case.condition_size, transforms=LAYERS, hidden_features=(case.hidden, case.hidden)
        ).eval()

    def log_prob(self, x: Any, conditional_input: Any) -> Callable[[], Any]:
        """Calls `flow(c).log_prob`."""
        rows, condition = torch.as_tensor(x), torch.as_tensor(conditional_input)

        def log_prob() -> Any:
            with torch.inference_mode():
                return self._flow(condition).log_prob(rows).numpy()

        return log_prob

    def sample(self, conditional_input: Any) -> Callable[[], Any]:
        """Calls `flow(c).sample`."""
        condition = torch.as_tensor(conditional_input)

        def sample() -> Any:
            with torch.inference_mode():
                return self._flow(condition).sample().numpy()

        return sample


build = Flow
