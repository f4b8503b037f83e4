"""The published files as a table of BigQuery, by one load job: all rows appear at once, or none. Needs the extra `gcp`.

The job's name follows from the files: whoever asks for the same load again, such as a worker that is run once more,
waits for the one that there is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from typing import TYPE_CHECKING, Any

from beam_jobs.errors import JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from beam_jobs.options.job_options import BigQueryTable, ExistingOutput, JobOptions


API = "https://bigquery.googleapis.com/bigquery/v2"
_SCOPE = "https://www.googleapis.com/auth/bigquery"
_FORMATS = {"parquet": "PARQUET", "avro": "AVRO"}
_DISPOSITIONS = {"refuse": "WRITE_EMPTY", "replace": "WRITE_TRUNCATE"}
_TIMEOUT = 60.0  # seconds for one answer
_ASKED_AGAIN_AFTER = 2.0
_ATTEMPTS = 5
_NOT_FOUND, _CONFLICT, _BUSY = 404, 409, (429, 500, 502, 503, 504)


class _RefusedError(Exception):
    """BigQuery's answer to a request that it does not grant."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Client:
    """Requests to BigQuery's REST API, repeated while it is busy or away: each of ours may be."""

    session: Any

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        return self._request("GET", path, params=parameters)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._request("POST", path, json=body)

    def _request(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        import requests  # noqa: PLC0415  # an extra

        attempt = 1
        while True:
            try:
                answer = self.session.request(method, f"{API}/{path}", timeout=_TIMEOUT, **more)
            except requests.RequestException as error:
                status, message = _BUSY[0], str(error)
            else:
                if answer.ok:
                    content: dict[str, Any] = answer.json()
                    return content
                status, message = answer.status_code, _message(answer)
            if status not in _BUSY or attempt == _ATTEMPTS:
                raise _RefusedError(status, message)
            time.sleep(_ASKED_AGAIN_AFTER * attempt)
            attempt += 1


def open_session() -> Any:
    """A session of `requests` with the credentials of this machine's user or service account.

    Raises:
      UsageError: the extra `gcp` is not installed, or there are no credentials.
    """
    try:
        import google.auth  # noqa: PLC0415  # an extra
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            f"--output_table needs the extra gcp, but {error.name} is not installed; "
            "install maf-serving[gcp] here and on the workers"
        ) from error
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise UsageError(f"--output_table has no credentials: {' '.join(str(error).split())}") from error
    return AuthorizedSession(credentials)


def check_table(table: BigQueryTable, *, existing: ExistingOutput) -> None:
    """Raises `UsageError` unless the table can be loaded, as far as one can see before there is anything to load."""
    client = _Client(session=open_session())
    try:
        client.get(f"projects/{table.project}/datasets/{table.dataset}")
        with _unless_missing():
            found = client.get(f"projects/{table.project}/datasets/{table.dataset}/tables/{table.table}")
            if existing == "refuse" and found.get("numRows", "0") != "0":
                raise UsageError(f"--output_table {table} has rows; name another, or add --overwrite to replace them")
    except _RefusedError as error:
        raise UsageError(f"--output_table {table} cannot be loaded: {error}") from error


def load_table(table: BigQueryTable, options: JobOptions, names: Iterable[str]) -> None:
    """Loads the published files of those names into the table, and waits for that.

    Raises:
      JobError: the table is as it was, or nobody knows; the files are there.
    """
    files = [f"{options.output.rstrip('/')}/{name}" for name in names]
    load = f"maf_serving_{hashlib.sha256(' '.join(files).encode()).hexdigest()[:32]}"
    where = f"the files are in {options.output}"
    try:
        _load(table, load, _configuration(options, table, files))
    except _RefusedError as error:
        raise JobError(f"{table} was not loaded: {error}; {where}") from error
    except KeyboardInterrupt as error:
        raise JobError(f"interrupted: job {load} of BigQuery goes on and loads {table}; {where}") from error


def _load(table: BigQueryTable, load: str, configuration: dict[str, Any]) -> None:
    client = _Client(session=open_session())
    jobs = f"projects/{table.project}/jobs"
    location = client.get(f"projects/{table.project}/datasets/{table.dataset}")["location"]
    reference = {"projectId": table.project, "jobId": load, "location": location}
    with _unless_there():
        client.post(jobs, {"jobReference": reference, "configuration": {"load": configuration}})
    while True:
        status = client.get(f"{jobs}/{load}", location=location)["status"]
        if status["state"] == "DONE":
            break
        time.sleep(_ASKED_AGAIN_AFTER)
    if "errorResult" in status:
        raise _RefusedError(0, status["errorResult"].get("message", "it does not say why"))


def _configuration(options: JobOptions, table: BigQueryTable, files: list[str]) -> dict[str, Any]:
    return {
        "sourceUris": files,
        "sourceFormat": _FORMATS[options.output_format],
        "destinationTable": {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table},
        "createDisposition": "CREATE_IF_NEEDED",
        "writeDisposition": _DISPOSITIONS[options.existing_output],
        "parquetOptions": {"enableListInference": True},
        "useAvroLogicalTypes": True,
    }


def _message(answer: Any) -> str:
    """What the body says, in one line."""
    try:
        text = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = answer.text or f"status {answer.status_code}"
    return " ".join(text.split())


@contextlib.contextmanager
def _unless_missing() -> Iterator[None]:
    try:
        yield
    except _RefusedError as error:
        if error.status != _NOT_FOUND:
            raise


@contextlib.contextmanager
def _unless_there() -> Iterator[None]:
    try:
        yield
    except _RefusedError as error:
        if error.status != _CONFLICT:
            raise
