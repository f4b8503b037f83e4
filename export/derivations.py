"""Signatures that are other signatures, but for what some inputs are made of and what outputs are made into.

    log_prob           the log_prob of `inverse`
    sample             `sample_with_seed`, with new seeds
    conditional_cdf    of the z of `inverse`
    ..._columns        of vectors that are made of columns

As a function a derived signature is a composition. In the graph that a server loads (`session_graph.py`) it is no more
than its own two ends: a server prepares a graph for each signature, and looks through all of them each time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from export.contract import Signature, TensorSpec

Tensors = Mapping[str, tf.Tensor]
Function = Callable[[Tensors], Tensors]
MADE_FOR = "made_for_{}"
MADE_OF = "made_of_{}"


@dataclasses.dataclass(frozen=True, slots=True)
class Derivation:
    """How a signature comes of another.

    Attributes:
      core: name of the other signature.
      before: from the inputs of this one to all inputs of the other; `None` if they are the same.
      after: from the outputs of the other to those of this one, and maybe more; `None` if it has them.
    """

    core: str
    before: Function | None = None
    after: Function | None = None

    def of(self, core: Function) -> Function:
        """This one as a function, from that of the other."""

        def derived(inputs: Tensors) -> Tensors:
            outputs = core(self.before(inputs) if self.before else inputs)
            return self.after(outputs) if self.after else outputs

        return derived


def shared(derivations: Mapping[str, Derivation], signatures: Mapping[str, Signature]) -> dict[str, Derivation]:
    """Those of which there are both signatures."""
    return {name: each for name, each in derivations.items() if {name, each.core} <= signatures.keys()}


def ends(
    derivations: Mapping[str, Derivation], signatures: Mapping[str, Signature]
) -> dict[str, tuple[Function, Signature]]:
    """What `shared` signatures do before and after those they share, by a name made of theirs, where they do anything.

    Before it is from the inputs that the other lacks, or from all if it lacks none, to those that this one lacks; after
    it from the outputs that this one lacks to those that the other lacks.
    """
    made = {}
    for name, derivation in derivations.items():
        own, core = signatures[name], signatures[derivation.core]
        made_inputs = _without(core.inputs, own.inputs)
        if derivation.before and made_inputs:
            given = _without(own.inputs, core.inputs) or own.inputs
            made[MADE_FOR.format(name)] = derivation.before, Signature(given, made_inputs)
        made_outputs = _without(own.outputs, core.outputs)
        if derivation.after and made_outputs:
            made[MADE_OF.format(name)] = derivation.after, Signature(_without(core.outputs, own.outputs), made_outputs)
    return made


def _without(specs: Mapping[str, TensorSpec], others: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    return {name: spec for name, spec in specs.items() if name not in others}
