"""Keyword arguments for the layers of a conditional flow, by layer name.

TFP hands a chain's keyword arguments down by bijector name and looks them up with `.get(name, {})`: a misspelt name is
dropped in silence, and two bijectors of one name share what is meant for one of them
(tensorflow/probability #1410, #1159, #1006). `make_bijector_kwargs` builds the dictionary from the bijector itself and
refuses what would go wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from maf.conditional_layers import CONDITIONAL_INPUT, takes_condition
from maf.errors import RoutingError

# Parameters of TFP's own methods and functions. It passes kwargs from chain to chain as keywords named as the layers
# are, so a layer of such a name, of the outermost chain or of one inside it, makes it raise a TypeError.
_TAKEN_OUTSIDE = frozenset(
    [
        *("backward_compat", "event_ndims", "forward", "name", "pack_as_original_structure", "self", "step_fn"),
        *("tangent_space", "x", "y"),
    ]
)
_TAKEN_INSIDE = _TAKEN_OUTSIDE | {
    *("b", "bij", "dtype", "increased_dof", "packed_xs", "packed_ys", "x_event_ndims"),
}


def make_bijector_kwargs(bijector: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The `bijector_kwargs` that give every conditional layer of `bijector` its keyword arguments.

        bijector_kwargs = make_bijector_kwargs(distribution.bijector, {"conditional_input": c})
        distribution.log_prob(x, bijector_kwargs=bijector_kwargs)

    Chains become dictionaries by name, nested as the chains are; `Invert` passes its inner bijector's on, as TFP does.
    Bijectors that take no keyword arguments get none.

    Args:
      bijector: any TFP bijector.
      kwargs: what every conditional layer gets, `{"conditional_input": c}` with `c` of shape `[B, C]`; or, as in TFP's
        documentation, regular expressions for layer names (matched from the start of the name) to such dictionaries,
        `{"maf": {"conditional_input": c}}`, where the first that matches counts.

    Returns:
      Keyword arguments for `forward`, `inverse` and their log-determinants; `{}` if no layer takes any.

    Raises:
      RoutingError: naming the layer, if two bijectors of a chain share a name and one of them takes keyword
        arguments, if a conditional layer would get no input, or if no layer takes the input at all.
    """
    by_pattern = bool(kwargs) and all(isinstance(value, Mapping) for value in kwargs.values())
    patterns: Mapping[str, Any] = kwargs if by_pattern else {"": dict(kwargs)}
    routed = _route(bijector, patterns, path="", taken=_TAKEN_OUTSIDE)
    if not routed and any(patterns.values()):
        given = sorted({name for value in patterns.values() for name in value})
        raise RoutingError(
            f"bijector {bijector.name!r} has no conditional layer that takes {', '.join(given)}; "
            "pass no kwargs to an unconditional flow"
            + (f", or check the name patterns {', '.join(patterns)}" if by_pattern else "")
        )
    return routed


def is_conditional(bijector: Any, *, event_size: int | None = None) -> bool:
    """Whether `bijector`, or a bijector inside it, makes use of `conditional_input`.

    A function of a user's may take any keyword argument and use none: what it does with a condition is tried, on a
    trace of the layer's `inverse`, and remembered.

    Args:
      bijector: any TFP bijector.
      event_size: D of the `x` `[B, D]` that it maps, where the layers may not tell.
    """
    parts = _parts(bijector)
    if parts:
        return any(is_conditional(part, event_size=event_size) for part in parts)
    return takes_condition(bijector, event_size=event_size)


def _route(bijector: Any, patterns: Mapping[str, Any], path: str, taken: frozenset[str]) -> dict[str, Any]:
    path = f"{path}/{bijector.name}" if path else bijector.name
    inner = _inverted(bijector)
    if inner is not None:
        return _route(inner, patterns, path, taken)
    chain = _chained(bijector)
    if chain is not None:
        _refuse_shared_names(chain, path)
        routed = {part.name: _route(part, patterns, path, _TAKEN_INSIDE) for part in chain}
        layers = {name: value for name, value in routed.items() if value}
        for name in layers.keys() & taken:
            raise RoutingError(
                f"layer {name!r} of {path!r} has the name of a parameter inside TFP, which passes kwargs on by name; "
                "give it another name"
            )
        return layers
    if not takes_condition(bijector):
        return {}
    for pattern, value in patterns.items():
        if re.match(pattern, bijector.name) and value.get(CONDITIONAL_INPUT) is not None:
            return dict(value)
    given = ", ".join(patterns) if "" not in patterns else ", ".join(patterns[""])
    raise RoutingError(
        f"conditional layer {path!r} would get no {CONDITIONAL_INPUT}; got kwargs for {given or 'nothing'}; "
        f"pass {{'{CONDITIONAL_INPUT}': c}} with c of shape [B, C], or a name pattern that matches the layer"
    )


def _refuse_shared_names(chain: tuple[Any, ...], path: str) -> None:
    counts = Counter(part.name for part in chain)
    for part in chain:
        if counts[part.name] > 1 and is_conditional(part):
            raise RoutingError(
                f"{counts[part.name]} bijectors of {path!r} are named {part.name!r} and TFP routes kwargs by name; "
                "give every layer a name of its own"
            )


def _parts(bijector: Any) -> tuple[Any, ...]:
    inner = _inverted(bijector)
    return (inner,) if inner is not None else _chained(bijector) or ()


def _chained(bijector: Any) -> tuple[Any, ...] | None:
    """The bijectors of a chain. `tfb.Chain(...)` may return a `_Chain`, so the type is no guide."""
    parts = getattr(bijector, "bijectors", None)
    return tuple(parts) if isinstance(parts, (list, tuple)) else None


def _inverted(bijector: Any) -> Any | None:
    return bijector.bijector if type(bijector).__name__ in {"Invert", "_Invert"} else None
