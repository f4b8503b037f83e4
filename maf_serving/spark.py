"""What Spark is asked for, by batch functions and by the batch jobs: sessions, schemas, files on its workers.

PySpark is imported when one of these is called.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maf_serving.errors import JobError, UsageError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

_EXTRA = "install maf-serving[spark]"
_MISSING = re.compile(r"No module named '((?:maf_serving|beam_jobs|export|pyarrow|tensorflow|apache_beam)[\w.]*)'")
_RAISED = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt|Exit))(?:: (.*))?$")
_LONGEST = 400
# The last line of a traceback of one of ours speaks for itself.
_OURS = ("JobError", "UsageError", "ContractError", "ChangedInputError", "UnreadableFileError")


def require_spark() -> None:
    """Raises `UsageError` unless Spark can be started here: PySpark, pandas and Java are there."""
    for name in ("pyspark", "pandas"):
        try:
            __import__(name)
        except ImportError as error:
            raise UsageError(f"Spark needs the package {name}, which is not here ({error}); {_EXTRA}") from error
    home = os.environ.get("JAVA_HOME")
    java = "java" if home is None else str(Path(home) / "bin" / "java")
    if shutil.which(java) is None:
        raise UsageError(f"Spark needs Java 17 or later, but {java} is no program here; install it, or set JAVA_HOME")


def start_spark(master: str | None, configuration: Mapping[str, str]) -> tuple[Any, bool]:
    """The session that runs, or a new one; and whether it is new, to be stopped by who asked for it.

    Args:
      master: as of `spark-submit --master`; `None` for the one of the session or of Spark's configuration files, and
        else all cores of this machine.
      configuration: of a new session, by Spark's names.

    Raises:
      UsageError: Spark cannot be started, or runs on another master.
    """
    require_spark()
    from pyspark import SparkConf  # noqa: PLC0415  # an extra
    from pyspark.sql import SparkSession  # noqa: PLC0415

    active = SparkSession.getActiveSession()
    if active is not None:
        if master not in (None, active.sparkContext.master):
            raise UsageError(
                f"a session on {active.sparkContext.master} runs here, and --master is {master}; stop it before, or "
                "leave out --master"
            )
        return active, False
    earlier = signal.getsignal(signal.SIGINT)
    # Workers of this machine are this Python, not the first one of PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = SparkConf()
    for name, value in {"spark.ui.showConsoleProgress": "false", "spark.log.level": "OFF", **configuration}.items():
        settings = settings.set(name, value)
    where = master or settings.get("spark.master", "local[*]")
    with quiet():
        try:
            session = SparkSession.builder.master(where).appName("maf-serving").config(conf=settings).getOrCreate()
        except Exception as error:  # of Py4J, or of Java
            raise UsageError(f"Spark does not start on {where}: {spark_reason(error)}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, earlier)  # PySpark has put its own there
    return session, True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """While the block runs, PySpark does not say that this pandas is newer than it knows: none of it is used here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
        yield


def to_spark_schema(schema: pa.Schema) -> Any:
    """An Arrow schema as Spark's `StructType`. Raises `UsageError` if PySpark is not there, or has no such type."""
    try:
        from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError(f"a schema of Spark needs the package pyspark, which is not here; {_EXTRA}") from error
    try:
        return from_arrow_schema(schema)
    except Exception as error:
        raise UsageError(f"Spark cannot hold a kept column: {one_line(error)}; cast it, or leave it out") from error


def to_arrow_schema(schema: Any) -> pa.Schema:
    """Spark's `StructType`, or that of a DataFrame of Spark, as an Arrow schema."""
    from pyspark.sql.pandas.types import to_arrow_schema as convert  # noqa: PLC0415  # an extra

    with quiet():
        return convert(getattr(schema, "schema", schema))


def send_directory(session: Any, directory: str) -> str:
    """Sends a directory to all workers of a session, also those that come later; returns its name there."""
    path = Path(directory).absolute()
    name = f"maf-serving-{path.name}-{uuid.uuid4().hex[:8]}"
    context = session.sparkContext
    place = tempfile.mkdtemp(prefix="sent-", dir=context._temp_dir)  # workers fetch it until the session ends
    archive = shutil.make_archive(str(Path(place) / name), "zip", path)
    context.addArchive(f"{archive}#{name}")
    return name


def sent_directory(name: str) -> str:
    """Where a directory that was sent is on this worker. Raises `JobError` if it is not."""
    from pyspark import SparkFiles  # noqa: PLC0415  # an extra

    path = SparkFiles.get(name)
    if not Path(path).is_dir():
        raise JobError(f"{name}, which was sent to the workers, is not on this one: {path}")
    return str(path)


def spark_reason(error: Exception) -> str:
    """Why a job of Spark failed, in one line: the end of the worker's traceback, or Spark's own first line."""
    text = str(error)
    missing = _MISSING.search(text)
    if missing is not None:
        return (
            f"the Python of a worker has no {missing[1].partition('.')[0]}; install maf-serving there (of the same "
            "version), and name that Python with spark.pyspark.python"
        )
    raised = [match for line in text.splitlines() if (match := _RAISED.match(line.strip())) and match[2]]
    told = [match for match in raised if match[1] in _OURS]
    if told:
        return str(told[-1][2])
    if raised and "Traceback" in text:
        return f"{raised[-1][1]}: {raised[-1][2]}"[:_LONGEST]
    return one_line(error)[:_LONGEST]
