"""The client of a served flow: arrays in, arrays out.

A large input goes as several requests, a few of them under way at a time.
"""

from __future__ import annotations

import secrets
from concurrent.futures import FIRST_EXCEPTION, Executor, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from maf_serving.model_spec import ModelSpec
from maf_serving.row_limit import RowLimit
from maf_serving.row_seeds import Words, draw_seeds, row_keys
from serving_config.client.request_inputs import empty_outputs, given_inputs, raw_condition_inputs, request_inputs
from serving_config.client.retry import RetryPolicy
from serving_config.errors import InputError, ResponseError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    import numpy.typing as npt

    from export.contract import ConditionColumn
    from maf_serving.model_inputs import Array
    from maf_serving.tls import Tls
    from serving_config.client.transport import Arrays, ModelMetadata, SignatureInfo, Transport, VersionStatus

DEFAULT_ROWS_PER_REQUEST = 1000  # TensorFlow Serving's own default for the largest batch
DEFAULT_CONCURRENCY = 4
DEFAULT_TIMEOUT = 60.0
ROWS_PER_SUMMARY = 64  # a thousand draws each, or some 400 points
Result = TypeVar("Result")


class Client:
    """Calls one model on one server, over REST or gRPC. Thread-safe; a context manager.

        >>> with Client("sales", grpc_target=server.grpc_target) as client:
        ...     season, region = [1.0, 2.0], ["north", None]
        ...     columns = read_contract("models/sales").condition_columns
        ...     c = client.encode_condition({"season": season, "region": region}, condition_columns=columns)
        ...     client.log_prob([[9.5], [20.0]], c).shape, client.sample(c, num_samples=3, seed=7).shape
        ((2,), (3, 2, 1))

    Inputs and outputs are arrays with B rows, D event columns and C conditional columns, in the types of the model.
    A row with a NaN gives NaN. Large inputs are split into requests, no rows are no request, and requests that fail
    for want of a server or of time are sent again.

    Args:
      model_name: name of the model on the server.
      rest_url: `http://host:8501`; either this or `grpc_target`.
      grpc_target: `host:8500`.
      version: a version number; by default the newest that the server has.
      version_label: a label instead of a number.
      tls: PEM files for an https URL, or for gRPC with TLS.
      rows_per_request: rows of the largest request. A server that batches may take fewer, which its refusal tells.
      concurrency: requests under way at a time.
      timeout: seconds that one request may take.
      retry: how often, and how fast, to try again.

    Raises:
      UsageError: the arguments do not fit together.
    """

    def __init__(
        self,
        model_name: str,
        *,
        rest_url: str | None = None,
        grpc_target: str | None = None,
        version: int | None = None,
        version_label: str | None = None,
        tls: Tls | None = None,
        rows_per_request: int = DEFAULT_ROWS_PER_REQUEST,
        concurrency: int = DEFAULT_CONCURRENCY,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
    ) -> None:
        if rows_per_request < 1 or concurrency < 1 or not timeout > 0:
            raise UsageError(
                f"rows_per_request is {rows_per_request}, concurrency {concurrency}, timeout {timeout}; "
                "expected at least 1 row, 1 request and more than 0 seconds"
            )
        self._model = ModelSpec(name=model_name, version=version, version_label=version_label)
        self._limit = RowLimit(rows_per_request)
        self._timeout = timeout
        self._retry = RetryPolicy() if retry is None else retry
        self._transport = open_transport(rest_url=rest_url, grpc_target=grpc_target, tls=tls, connections=concurrency)
        self._executor = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="maf-client")
        self._metadata: ModelMetadata | None = None

    def log_prob(self, x: npt.ArrayLike, conditional_input: npt.ArrayLike | None = None) -> Array:
        """Log-densities `[B]`, in nats, of `x [B, D]` given `conditional_input [B, C]`, in raw units."""
        return self.predict("log_prob", given_inputs(x=x, conditional_input=conditional_input))["log_prob"]

    def sample(
        self, conditional_input: npt.ArrayLike | None = None, *, num_samples: int = 1, seed: int | None = None
    ) -> Array:
        """Draws `[N, B, D]`: `num_samples` for each row of `conditional_input [B, C]`.

        An unconditional model takes no `conditional_input` and gives `[N, D]`. With a `seed`, draw n of row i is the
        same at each call, whatever `num_samples` and the split into requests, and the same as in a batch job on a file
        of these rows; without one, draws are fresh.

        Raises:
          InputError: the conditions do not fit the model; nothing was sent.
          UsageError: the seed has more than 64 bits.
        """
        return self.sample_with_log_prob(conditional_input, num_samples=num_samples, seed=seed)[0]

    def sample_with_log_prob(
        self,
        conditional_input: npt.ArrayLike | None = None,
        *,
        num_samples: int = 1,
        seed: int | None = None,
        keys: Words | None = None,
    ) -> tuple[Array, Array]:
        """As `sample`, with the draws' log-densities `[N, B]` (`[N]`).

        `keys` `[B]`, of `maf_serving.row_seeds`, stand in for `seed` where rows are not simply numbered from 0.
        """
        if num_samples < 0:
            raise InputError(f"num_samples is {num_samples}; expected at least 0")
        rows = _rows(conditional_input)
        inputs: dict[str, npt.ArrayLike] = {}
        if conditional_input is not None:
            condition = np.asarray(conditional_input)
            inputs["conditional_input"] = np.tile(condition, (num_samples, *(1 for _ in condition.shape[1:])))
        signature_name = "sample"
        if keys is None and (seed is not None or conditional_input is None):
            keys = row_keys(secrets.randbits(63) if seed is None else seed, np.arange(rows))
        if keys is not None:
            signature_name = "sample_with_seed"
            inputs["seed"] = draw_seeds(np.tile(keys, num_samples), np.repeat(np.arange(num_samples), rows))
        outputs = self.predict(signature_name, inputs)
        x, log_prob = outputs["x"], outputs["log_prob"]
        if conditional_input is None:
            return x, log_prob
        return x.reshape(num_samples, rows, x.shape[1]), log_prob.reshape(num_samples, rows)

    def inverse(self, x: npt.ArrayLike, conditional_input: npt.ArrayLike | None = None) -> Array:
        """Points `z [B, D]` of the base space that the flow maps to `x [B, D]`."""
        return self.predict("inverse", given_inputs(x=x, conditional_input=conditional_input))["z"]

    def forward(self, z: npt.ArrayLike, conditional_input: npt.ArrayLike | None = None) -> Array:
        """Points `x [B, D]` that the flow maps `z [B, D]`, of the base space, to."""
        return self.predict("forward", given_inputs(z=z, conditional_input=conditional_input))["x"]

    def summarize(self, conditional_input: npt.ArrayLike | None = None, *, seed: int = 0) -> Arrays:
        """What to expect of each row: `mean` `[B, D]`, `stddev` `[B, D]` and `quantiles` `[B, D, Q]`.

        The Q levels are those that the model was exported with, `answers.quantile_levels` of its contract. Of one event
        column all is exact; of several it is that of draws, whose seed for row i depends on `seed` and i alone: the
        same here, in `model.summarize(table, seed=seed)` and on any server.

        Args:
          conditional_input: `[B, C]`; none of an unconditional model, which gives one row.
          seed: of the draws.

        Raises:
          InputError: the conditions do not fit, or the model was exported without summaries; nothing was sent.
          UsageError: the seed has more than 64 bits.
        """
        rows = _rows(conditional_input)
        inputs = given_inputs(conditional_input=conditional_input)
        inputs["seed"] = draw_seeds(row_keys(seed, np.arange(rows)), np.zeros(rows, np.int64))
        return self.predict("summarize", inputs, rows_per_request=ROWS_PER_SUMMARY)

    def quantile(self, probability: npt.ArrayLike, conditional_input: npt.ArrayLike | None = None) -> Array:
        """The values that are not exceeded with these probabilities, of a model of one event column; exact.

            client.quantile(0.9, c)  # [B]
            client.quantile([0.05, 0.95], c)  # [B, 2]

        Args:
          probability: one, or L of them, between 0 and 1; the same for all rows. Others give NaN.
          conditional_input: `[B, C]`; none of an unconditional model, which gives one row.

        Returns:
          `[B]` of one probability, `[B, L]` of several.

        Raises:
          InputError: something does not fit, or the model has no quantiles; nothing was sent.
        """
        levels = np.asarray(probability)
        if levels.ndim > 1 or levels.dtype.kind not in "fiu":
            raise InputError(
                f"probability is of type {levels.dtype} and shape {list(levels.shape)}; expected a number, or some in "
                "one dimension"
            )
        rows, count = _rows(conditional_input), levels.size
        inputs: dict[str, npt.ArrayLike] = {"probability": np.tile(levels.reshape(-1), rows)}
        if conditional_input is not None:
            inputs["conditional_input"] = np.repeat(np.asarray(conditional_input), count, axis=0)
        x = self.predict("quantile", inputs)["x"]
        return x[:, 0] if levels.ndim == 0 else x.reshape(rows, count)

    def cdf(self, x: npt.ArrayLike, conditional_input: npt.ArrayLike | None = None) -> Array:
        """How likely values of at most `x` are, `[B]`, of a model of one event column; exact.

        Of several event columns, `[B, D]`: of each column of base space the share that lies below the row, given those
        before it (`conditional_cdf`).

        Args:
          x: `[B, D]`.
          conditional_input: `[B, C]`; none of an unconditional model.

        Raises:
          InputError: something does not fit, or the model has no such function; nothing was sent.
        """
        width = np.asarray(x).shape[-1] if np.ndim(x) else 1
        name = "cdf" if width == 1 else "conditional_cdf"
        return self.predict(name, given_inputs(x=x, conditional_input=conditional_input))[name]

    def encode_condition(
        self, columns: Mapping[str, Sequence[Any] | Array], *, condition_columns: Sequence[ConditionColumn]
    ) -> Array:
        """The `conditional_input [B, C]` that the model makes of raw columns: categories, and numbers with nulls.

        Args:
          columns: by name, B values each; `None` or NaN where there is none.
          condition_columns: `Contract.condition_columns` of the exported version, since a server knows no names.

        Raises:
          InputError: a column is missing or unknown, or a value is of another kind, or null where none may be.
        """
        return self.predict("encode_condition", raw_condition_inputs(columns, condition_columns))["conditional_input"]

    def log_prob_examples(self, examples: Sequence[bytes]) -> Array:
        """Log-densities `[B]`, in nats, of B serialized `tf.Example`s, whose features are the raw columns by name.

        For a model whose condition has categories or nulls. A feature that is not there is null.
        """
        serialized = np.empty(len(examples), object)
        serialized[:] = list(examples)
        return self.predict("log_prob_examples", {"examples": serialized})["log_prob"]

    def predict(
        self, signature_name: str, inputs: Mapping[str, npt.ArrayLike], *, rows_per_request: int | None = None
    ) -> Arrays:
        """The outputs, by name, of any signature whose inputs and outputs have the rows as their first dimension.

        `rows_per_request` may be less than the client's own, for a signature that takes its time.

        Raises:
          InputError: the arrays do not fit the signature; nothing was sent.
          ServingError: the server refused, or could not be reached.
        """
        signature, arrays = self._fit(signature_name, inputs)
        rows = len(next(iter(arrays.values()), ()))
        if rows == 0:
            return empty_outputs(signature)

        def send(part: slice) -> Arrays:
            chunk = {name: array[part] for name, array in arrays.items()}
            outputs = self._retry.call(
                lambda: self._transport.predict(self._model, signature_name, signature, chunk, timeout=self._timeout)
            )
            _check_rows(outputs, part.stop - part.start)
            return outputs

        parts = fan_out(
            lambda part: self._limit.in_parts(send, part),
            rows=rows,
            rows_per_request=min(self._limit.most, rows_per_request or self._limit.most),
            executor=self._executor,
        )
        return {name: np.concatenate([answer[name] for part in parts for answer in part]) for name in signature.outputs}

    def model_status(self) -> list[VersionStatus]:
        """The states of the model's versions (of the one version, if the client names it), newest first."""
        statuses = self._retry.call(lambda: self._transport.model_status(self._model, timeout=self._timeout))
        return sorted(statuses, key=lambda status: -status.version)

    def metadata(self) -> ModelMetadata:
        """The signatures of the version that answers, asked anew."""
        self._metadata = self._retry.call(lambda: self._transport.metadata(self._model, timeout=self._timeout))
        return self._metadata

    def close(self) -> None:
        """Ends the requests that have not started, and closes the connections."""
        self._executor.shutdown(cancel_futures=True)
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _fit(self, signature_name: str, inputs: Mapping[str, npt.ArrayLike]) -> tuple[SignatureInfo, Arrays]:
        """The signature and its arrays; what does not fit is held against new metadata before it is refused."""
        if self._metadata is not None:
            try:
                signature = self._metadata.signature(signature_name)
                return signature, request_inputs(signature_name, signature, inputs)
            except InputError:
                pass
        signature = self.metadata().signature(signature_name)
        return signature, request_inputs(signature_name, signature, inputs)


def _rows(conditional_input: npt.ArrayLike | None) -> int:
    """How many rows there are; one, of an unconditional model."""
    return 1 if conditional_input is None else len(np.atleast_1d(np.asarray(conditional_input)))


def _check_rows(outputs: Arrays, rows: int) -> None:
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != rows:
            raise ResponseError(f"output {name} has shape {list(array.shape)} for {rows} rows")


def fan_out(call: Callable[[slice], Result], *, rows: int, rows_per_request: int, executor: Executor) -> list[Result]:
    """The results of `call` on slices of at most `rows_per_request` rows, in order.

    The first error is raised, and what has not started by then never does.
    """
    slices = [slice(start, min(start + rows_per_request, rows)) for start in range(0, rows, rows_per_request)]
    if len(slices) == 1:
        return [call(slices[0])]
    futures = [executor.submit(call, each) for each in slices]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = [future for future in futures if future.done() and future.exception() is not None]
        return [future.result() for future in failed or futures]
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


def open_transport(
    *, rest_url: str | None, grpc_target: str | None, tls: Tls | None = None, connections: int = 4
) -> Transport:
    """Connections to the one address that is given. Raises `UsageError` for none or both."""
    if (rest_url is None) == (grpc_target is None):
        raise UsageError(
            f"rest_url is {rest_url!r} and grpc_target is {grpc_target!r}; expected one of them, such as "
            "http://localhost:8501 or localhost:8500"
        )
    if tls is not None:
        tls.check_files()
    # Each library is loaded only where it is used: gRPC is not needed for REST, nor the other way round.
    if rest_url is not None:
        from serving_config.client.rest_transport import RestTransport  # noqa: PLC0415

        return RestTransport(rest_url, tls=tls, connections=connections)
    from serving_config.client.grpc_transport import GrpcTransport  # noqa: PLC0415

    if not grpc_target or grpc_target.startswith(("http://", "https://")):
        raise UsageError(f"grpc_target is {grpc_target!r}; expected such as localhost:8500, without http://")
    return GrpcTransport(grpc_target, tls=tls)
