"""Keyword arguments for the layers of a conditional flow, by layer name, and which layers make use of a condition.

TFP hands a chain's keyword arguments down by bijector name and looks them up with `.get(name, {})`: a misspelt name is
dropped in silence, and two bijectors of one name share what is meant for one of them
(tensorflow/probability #1410, #1159, #1006). `make_bijector_kwargs` builds the dictionary from the bijector itself and
refuses what would go wrong.

Whether a single layer makes use of a condition is told by its network, or found by trying:

    takes_condition(tfb.MaskedAutoregressiveFlow(lambda x, **kwargs: network(x, **kwargs)))

A signature does not tell: a function may take any keyword argument and hand it to a network that has no use for it. So
the layer's `inverse` is traced, without a condition and with one, and the graph says whether the outputs depend on it.
Nothing is computed.

    takes no keyword ───────────────────────── unconditional
    declares `conditional`, as TFP's network ─ as it says
    requires `conditional_input` ───────────── conditional
    else traced:   without   with
                   works     refuses keyword ─ unconditional
                   works     works ─────────── conditional if the outputs depend on it
                   works     fails ─────────── conditional: it made something of what came
                   fails     works ─────────── conditional
                   fails     fails ─────────── nothing is known: conditional, as its signature allows
"""

from __future__ import annotations

import functools
import inspect
import itertools
import re
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from maf.errors import RoutingError

CONDITIONAL_INPUT = "conditional_input"
_MOST_NESTED = 3  # functions in functions
# By id of a layer: the layer, so that another one at its address is not taken for it; what was found; for which D.
_found: dict[int, tuple[weakref.ref[Any], bool | None, int | None]] = {}
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


def takes_condition(layer: Any, *, event_size: int | None = None) -> bool:
    """Whether a bijector that has none inside it makes use of `conditional_input`.

    Args:
      layer: the bijector.
      event_size: D of the `x` `[B, D]` that it maps, where no network of its own tells; used in a trace.
    """
    conditioner = conditioner_of(layer)
    function = layer._forward if conditioner is None else conditioner
    keyword = _condition_parameter(function)
    if keyword is None:
        return False
    for attribute in ("conditional", "_conditional"):
        declared = getattr(conditioner, attribute, None)
        if isinstance(declared, bool):
            return declared
    if keyword.kind is not keyword.VAR_KEYWORD and keyword.default is keyword.empty:
        return True
    return _reads_condition(layer, event_size) is not False


def conditioner_of(layer: Any) -> Any | None:
    """The function or network that gives a layer its parameters, or `None`."""
    return getattr(layer, "_shift_and_log_scale_fn", None) or getattr(layer, "_bijector_fn", None)


def networks_in(held: Any, depth: int = _MOST_NESTED) -> list[Any]:
    """The networks of TFP that `held` is, or holds in its closure, its defaults or its attributes; some twice."""
    if any(kind.__name__ == "AutoregressiveNetwork" for kind in type(held).__mro__):
        return [held]
    if depth == 0:
        return []
    parts = [cell.cell_contents for cell in getattr(held, "__closure__", None) or ()]
    parts += [*(getattr(held, "__defaults__", None) or ()), *(getattr(held, "__kwdefaults__", None) or {}).values()]
    parts += [getattr(held, "__self__", None)]
    if isinstance(held, functools.partial):
        parts += [held.func, *held.args, *held.keywords.values()]
    parts += getattr(held, "__dict__", {}).values()
    return [network for part in parts if part is not None for network in networks_in(part, depth - 1)]


def _condition_parameter(function: Any) -> inspect.Parameter | None:
    """What takes `conditional_input` in `function(x, ...)`: the parameter of that name, or that of any keyword."""
    parameters = list(inspect.signature(function).parameters.values())
    named = [each for each in parameters if each.name == CONDITIONAL_INPUT]
    return next(iter([*named, *(each for each in parameters if each.kind is each.VAR_KEYWORD)]), None)


def _reads_condition(layer: Any, event_size: int | None) -> bool | None:
    """Whether the outputs depend on a condition; `None` if no trace tells. What was found is remembered."""
    key = id(layer)
    if key in _found:
        of, reads, size = _found[key]
        if of() is layer and (reads is not None or event_size in {None, size}):
            return reads
    reads = _try(layer, event_size)
    _found[key] = (weakref.ref(layer, lambda _: _found.pop(key, None)), reads, event_size)
    return reads


def _try(layer: Any, event_size: int | None) -> bool | None:
    import tensorflow as tf  # noqa: PLC0415  # routing needs it in this one case

    for x, condition in _inputs(layer, event_size):
        without = _trace(layer, [x])
        traced = _trace(layer, [x, condition])
        if isinstance(without, Exception):
            if isinstance(traced, Exception):
                continue
            return True
        if isinstance(traced, TypeError) and "unexpected keyword argument" in str(traced):
            return False
        return isinstance(traced, Exception) or _depends(traced.graph, tf.nest.flatten(traced.structured_outputs))
    return None


def _inputs(layer: Any, event_size: int | None) -> Iterator[tuple[Any, Any]]:
    """Specs of `x` and of the condition to try, the likeliest first."""
    import tensorflow as tf  # noqa: PLC0415

    networks = networks_in(conditioner_of(layer))
    sizes = [network._event_size for network in networks] + [event_size, None]
    conditions = [getattr(network, "_conditional_size", None) for network in networks if network._conditional] + [None]
    dtypes = [network.dtype for network in networks] + [layer.dtype, tf.float32, tf.float64]
    kinds = dict.fromkeys(tf.as_dtype(dtype) for dtype in dtypes if dtype is not None)
    for dtype, size, condition in itertools.product(kinds, dict.fromkeys(sizes), dict.fromkeys(conditions)):
        yield tf.TensorSpec([None, size], dtype), tf.TensorSpec([None, condition], dtype)


def _trace(layer: Any, specs: list[Any]) -> Any:
    """The layer's `inverse` and its log-determinant as a concrete function, or the exception that they raise."""
    import tensorflow as tf  # noqa: PLC0415

    def inverse(x: Any, condition: Any = None) -> Any:
        kwargs: Mapping[str, Any] = {} if condition is None else {CONDITIONAL_INPUT: condition}
        events = max(layer.inverse_min_event_ndims, 1)
        return layer.inverse(x, **kwargs), layer.inverse_log_det_jacobian(x, event_ndims=events, **kwargs)

    try:
        with tf.init_scope():
            return tf.function(inverse, autograph=False).get_concrete_function(*specs)
    except Exception as error:  # noqa: BLE001  # whatever a function of a user's raises is an answer
        return error


def _depends(graph: Any, outputs: list[Any]) -> bool:
    """Whether any of `outputs` depends on the graph's second input."""
    wanted = graph.inputs[1].op
    seen: set[str] = set()
    waiting = [output.op for output in outputs if hasattr(output, "op")]
    while waiting:
        operation = waiting.pop()
        if operation is wanted:
            return True
        if operation.name not in seen:
            seen.add(operation.name)
            waiting += [each.op for each in operation.inputs]
    return False


def make_bijector_kwargs(bijector: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The `bijector_kwargs` that give every conditional layer of `bijector` its keyword arguments.

        >>> bijector = tfb.Chain([create_named_maf(f"maf_{i}", [64, 64], event_size=2) for i in range(5)])
        >>> kwargs = make_bijector_kwargs(bijector, {"conditional_input": c})
        >>> sorted(kwargs), sorted(kwargs["maf_4"])
        (['maf_0', 'maf_1', 'maf_2', 'maf_3', 'maf_4'], ['conditional_input'])
        >>> bijector.inverse(x, **kwargs).shape
        TensorShape([3, 2])

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


def is_kind(instance: object, class_name: str) -> bool:
    """Whether `instance` is a TFP `class_name` or of a subclass.

    By name: `tfd.Independent(...)` and many more return an object of the private base class `_Independent`, no instance
    of `tfd.Independent`, unless every part of them is a composite tensor.
    """
    return any(cls.__name__.lstrip("_") == class_name for cls in type(instance).__mro__)
