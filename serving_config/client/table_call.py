"""The rows of a table through a served model, a few requests at a time, in constant memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from maf_serving.command import say, when_interrupted
from maf_serving.row_seeds import row_keys
from serving_config.client.client import Client
from serving_config.client.columns import Columns, resolve_columns
from serving_config.client.retry import RetryPolicy
from serving_config.client.table_input import TableInput
from serving_config.client.table_output import open_output
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_config.client.options import CallOptions
    from serving_config.client.transport import Arrays

_REQUESTS_PER_BATCH = 4  # of each connection, so that none waits long for the others at the end of a batch


def call_table(options: CallOptions) -> int:
    """Writes the answers for every row, and returns how many rows were read.

    Raises:
      UsageError: columns are missing, or nobody said which they are.
      JobError: a row has no value, or a file cannot be read or written.
      ServingError: the server refused, or could not be reached.
    """
    if options.input_path is None:
        raise UsageError("--input is missing; expected a Parquet or CSV file")
    table = TableInput(options.input_path)
    columns = resolve_columns(options, table.names, note=say)
    wanted = columns.wanted(options.operation)
    kept = table.check(wanted, options.keep)
    if not wanted:
        raise UsageError(
            "the model has no conditional columns, so there is nothing to read from --input; draw from Python with "
            "Client.sample(num_samples=...)"
        )
    _check_names(options, columns, kept)
    rows = 0
    batch_rows = max(1, options.rows_per_request * options.concurrency * _REQUESTS_PER_BATCH // options.num_samples)
    with (
        open_client(options) as client,
        open_output(options.output_path) as output,
        when_interrupted(lambda _: output.discard()),
        tqdm(total=table.rows, unit="row", unit_scale=True, disable=not sys.stderr.isatty()) as bar,
    ):
        for batch in table.batches(wanted, kept, batch_rows=batch_rows, categories=columns.categories):
            inputs = {
                name: table.matrix(batch, group, first_row=rows)
                for name, group in columns.inputs(options.operation).items()
            }
            if columns.raw_condition:
                raw = table.raw_condition(batch, columns.raw_condition, first_row=rows)
                inputs["conditional_input"] = client.predict("encode_condition", raw)["conditional_input"]
            carried = batch.select(kept)
            if options.operation == "sample":
                output.write(_sample(client, options, columns, inputs, carried, batch.num_rows, rows))
            else:
                output.write(_join(carried, _named(options.operation, columns, client, inputs)))
            rows += batch.num_rows
            bar.update(batch.num_rows)
    return rows


def open_client(options: CallOptions) -> Client:
    """The client that the options describe."""
    return Client(
        options.model_spec.name,
        rest_url=options.server.rest_url,
        grpc_target=options.server.grpc_target,
        version=options.model_spec.version,
        version_label=options.model_spec.version_label,
        tls=options.server.tls,
        rows_per_request=options.rows_per_request,
        concurrency=options.concurrency,
        timeout=options.server.timeout,
        retry=RetryPolicy(attempts=options.server.attempts),
    )


def _named(operation: str, columns: Columns, client: Client, inputs: Arrays) -> Arrays:
    """The outputs of an operation as columns."""
    outputs = client.predict(operation, inputs)
    named: Arrays = {}
    for name, group in (("z", columns.base), ("x", columns.event)):
        if name in outputs:
            named |= dict(zip(group, outputs[name].T, strict=True))
    if "log_prob" in outputs:
        named["log_prob"] = outputs["log_prob"]
    return named


def _sample(
    client: Client,
    options: CallOptions,
    columns: Columns,
    inputs: Arrays,
    carried: pa.RecordBatch,
    rows: int,
    first_row: int,
) -> pa.RecordBatch:
    """The draws of a batch: all of the first row, then all of the second; `row` counts the input's rows from 0."""
    draws = options.num_samples
    keys = None if options.seed is None else row_keys(options.seed, first_row + np.arange(rows))
    x, log_prob = client.sample_with_log_prob(inputs["conditional_input"], num_samples=draws, keys=keys)
    number = np.repeat(np.arange(rows), draws)
    values = {"row": first_row + number, "draw": np.tile(np.arange(draws), rows)}
    values |= dict(zip(columns.event, x.transpose(1, 0, 2).reshape(rows * draws, len(columns.event)).T, strict=True))
    values["log_prob"] = log_prob.T.reshape(-1)
    return _join(carried.take(pa.array(number)), values)


def _join(carried: pa.RecordBatch, values: Arrays) -> pa.RecordBatch:
    arrays = [*carried.columns, *(pa.array(np.ascontiguousarray(value)) for value in values.values())]
    return pa.RecordBatch.from_arrays(arrays, names=[*carried.schema.names, *values])


def _check_names(options: CallOptions, columns: Columns, kept: Sequence[str]) -> None:
    added = {
        "log_prob": ["log_prob"],
        "inverse": [*columns.base, "log_prob"],
        "forward": list(columns.event),
        "sample": ["row", "draw", *columns.event, "log_prob"],
    }[options.operation]
    both = [name for name in kept if name in added]
    if both:
        raise UsageError(f"--keep names {', '.join(both)}, which {options.operation} writes itself; leave it out")
