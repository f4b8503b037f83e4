"""One line out of what runners raise."""

from __future__ import annotations

import pytest

from beam_jobs.runner.submission import describe_failure

JAVA = """Pipeline job failed in state FAILED: java.lang.RuntimeException: Error received from SDK harness: Traceback
  File "a.py", line 3, in process
beam_jobs.errors.JobError: a.csv cannot be read from row 0: truncated [while running 'ReadRows']

\tat org.apache.beam.runners.flink.Executor.run(Executor.java:12)
\t... 3 more"""
GRPC = (
    '<_InactiveRpcError of RPC that terminated with:\n\tstatus = X\n\tdetails = "failed to connect"\n\tdebug = "y"\n>'
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (JAVA.replace("beam_jobs.errors.JobError", "maf_serving.errors.JobError"), "a.csv cannot be read from row 0"),
        (JAVA.replace("JobError", "EndpointBusyError"), "a.csv cannot be read from row 0"),
        (JAVA, "a.csv cannot be read from row 0: truncated"),
        (JAVA.replace("beam_jobs.errors.JobError", "KeyError"), "KeyError: a.csv cannot be read from row 0: truncated"),
        (GRPC, "failed to connect"),
        ("RuntimeError: Channel closed prematurely.", "the runner lost a worker: was it killed"),
        ("first\nlast\n", "last"),
        ("", "RuntimeError('')"),
    ],
)
def test_the_line_that_says_what_happened(text, line):
    assert describe_failure(RuntimeError(text)).startswith(line)
