"""Whether a single layer makes use of a condition: told by its network, or found by trying.

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
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

CONDITIONAL_INPUT = "conditional_input"
_MOST_NESTED = 3  # functions in functions

# By id of a layer: the layer, so that another one at its address is not taken for it; what was found; for which D.
_found: dict[int, tuple[weakref.ref[Any], bool | None, int | None]] = {}


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
