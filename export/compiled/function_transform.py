"""What a function of the model's owner makes of its network's output, as a transform of single columns."""

from __future__ import annotations

import copy
import dataclasses
import functools
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.errors import CompileError

if TYPE_CHECKING:
    from export.compiled.transforms import Mapped, Params

Array = np.ndarray[Any, Any]

_MAGNITUDES = np.array([0.1, 1.0, 3.0])


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FunctionTransform:
    """The bijectors that `bijector_fn` returns, for parameters that were computed elsewhere.

    Attributes:
      bijector_fn: as `tfb.MaskedAutoregressiveFlow` has it, from `x` and kwargs to a bijector of scalar events.
      network: the `tfb.AutoregressiveNetwork` that it calls.
    """

    bijector_fn: Callable[..., Any]
    network: Any

    def inverse(self, params: Params, x: tf.Tensor) -> Mapped:
        """`x` to z."""
        bijector, value = self._bijector(params), tf.transpose(x)
        return _feature_major(x, bijector.inverse(value), bijector.inverse_log_det_jacobian(value, event_ndims=0))

    def forward(self, params: Params, z: tf.Tensor) -> Mapped:
        """`z` to x."""
        bijector, value = self._bijector(params), tf.transpose(z)
        return _feature_major(z, bijector.forward(value), bijector.forward_log_det_jacobian(value, event_ndims=0))

    def _bijector(self, params: Params) -> Any:
        """The bijector of params `[P, N, B]`, of batch shape `[B, N]`."""
        output = tf.transpose(tf.convert_to_tensor(params), [2, 1, 0])
        # of what the function gets only the network may make use, and the one it calls here does not
        nan = tf.constant(np.nan, output.dtype)
        x = tf.fill(tf.shape(output)[:2], nan)
        kwargs = {}
        if self.network._conditional:
            size = self.network._conditional_size
            kwargs["conditional_input"] = tf.fill(tf.stack([tf.shape(output)[0], size]), nan)
        function = _replace(self.bijector_fn, self.network, _StandIn(self.network, output, x, kwargs))
        bijector = function(x, **kwargs)
        if bijector.forward_min_event_ndims != 0:
            raise CompileError("its bijector_fn returns a bijector of vectors; expected one of scalar events")
        return bijector


def read_function(bijector: Any, network: Any) -> FunctionTransform:
    """The transform of a `MaskedAutoregressiveFlow` whose function holds one network.

    Raises:
      CompileError: if a column's bijector does not follow from the network's output for that column alone.
    """
    transform = FunctionTransform(bijector._bijector_fn, network)
    try:
        same = _is_same(bijector, network, transform)
    except CompileError:
        raise
    except Exception as error:  # whatever the owner's function raises when it is called for one column
        raise CompileError(f"its function cannot be called column by column ({type(error).__name__})") from error
    if not same:
        raise CompileError("its function uses more of a column than its network's output")
    return transform


class _StandIn:
    """Called instead of a network, returns what is known already."""

    def __init__(self, network: Any, output: tf.Tensor, x: tf.Tensor, kwargs: dict[str, tf.Tensor]) -> None:
        self._network = network
        self._output = output
        self._x = x
        self._kwargs = kwargs

    def __call__(self, x: tf.Tensor, conditional_input: tf.Tensor | None = None) -> tf.Tensor:
        if x is not self._x or conditional_input is not self._kwargs.get("conditional_input"):
            raise CompileError("its function calls its network with something else than it is called with")
        return self._output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


def _replace(held: Any, network: Any, stand_in: _StandIn) -> Any:
    """A copy of `held` with `stand_in` for `network`, in closures, defaults, arguments and attributes at any depth."""
    if held is network:
        return stand_in
    replace = functools.partial(_replace, network=network, stand_in=stand_in)
    if isinstance(held, functools.partial):
        keywords = {name: replace(value) for name, value in held.keywords.items()}
        return functools.partial(replace(held.func), *map(replace, held.args), **keywords)
    if isinstance(held, types.FunctionType) and (held.__closure__ or held.__defaults__ or held.__kwdefaults__):
        cells = tuple(types.CellType(replace(cell.cell_contents)) for cell in held.__closure__ or ())
        defaults = tuple(replace(value) for value in held.__defaults__ or ()) or None
        made = types.FunctionType(held.__code__, held.__globals__, held.__name__, defaults, cells or None)
        made.__kwdefaults__ = {name: replace(value) for name, value in (held.__kwdefaults__ or {}).items()} or None
        return made
    if isinstance(held, types.MethodType):
        return types.MethodType(held.__func__, replace(held.__self__))
    if any(value is network for value in getattr(held, "__dict__", {}).values()):
        made = copy.copy(held)
        vars(made).update({name: replace(value) for name, value in vars(held).items()})
        return made
    return held


def _is_same(bijector: Any, network: Any, transform: FunctionTransform) -> bool:
    """Whether `transform` is the bijector that the owner's function returns, for all columns at once and for one."""
    rng = np.random.default_rng(0)
    scales = np.repeat(_MAGNITUDES, 8)[:, np.newaxis]
    x = tf.constant(rng.normal(size=(len(scales), network._event_size)) * scales, network.dtype)
    kwargs = {}
    if network._conditional:
        condition = rng.normal(size=(len(scales), network._conditional_size)) * scales
        kwargs["conditional_input"] = tf.constant(condition, network.dtype)
    params = tf.transpose(network(x, **kwargs), [2, 1, 0])
    own = bijector._bijector_fn(tf.identity(x), **kwargs)
    shape = tf.shape(x)
    expected = (
        (own.inverse(tf.identity(x)), own.inverse_log_det_jacobian(tf.identity(x), event_ndims=0)),
        (own.forward(tf.identity(x)), own.forward_log_det_jacobian(tf.identity(x), event_ndims=0)),
    )
    columns = tf.transpose(x)
    for direction, values in zip((transform.inverse, transform.forward), expected, strict=True):
        wanted = [tf.transpose(tf.broadcast_to(value, shape)).numpy() for value in values]
        for part in (slice(None), *(slice(i, i + 1) for i in range(len(columns)))):
            came = direction(params[:, part], columns[part])
            if not all(_close(a, b[part]) for a, b in zip(came, wanted, strict=True)):
                return False
    return True


def _close(came: tf.Tensor, wanted: Array) -> bool:
    return bool(np.isfinite(wanted).any()) and np.allclose(came, wanted, rtol=1e-5, atol=1e-5, equal_nan=True)


def _feature_major(like: tf.Tensor, value: tf.Tensor, log_derivative: tf.Tensor) -> Mapped:
    """`[B, N]` each, a log-derivative also of fewer dimensions, to `[N, B]`."""
    log_derivative = tf.broadcast_to(log_derivative, tf.shape(value))
    shaped = [tf.ensure_shape(tf.transpose(tensor), like.shape) for tensor in (value, log_derivative)]
    return shaped[0], shaped[1]
