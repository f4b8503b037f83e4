"""What the Flink runner needs on this machine, and the flags of Flink that only its job server knows."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from apache_beam.options.pipeline_options import FlinkRunnerOptions, JobServerOptions, PortableOptions
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.utils.subprocess_server import JavaHelper

from beam_jobs.errors import UsageError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

# Beam's Python SDK learns these from the job server, after the job was submitted. Those of batch jobs, from Beam's
# table of options of the portable Flink runner.
FLINK_FLAGS = frozenset(
    f"--{name}"
    for name in (
        "disable_metrics",
        "execution_mode_for_batch",
        "execution_retry_delay",
        "faster_copy",
        "flink_conf_dir",
        "max_bundle_size",
        "max_bundle_time_mills",
        "number_of_execution_retries",
        "object_reuse",
        "operator_chaining",
        "re_iterable_group_by_key_result",
    )
)


def prepare_flink(options: PipelineOptions) -> None:
    """Makes sure that a job server can be started: Java is there, and so is the jar, which Beam downloads if need be.

    Nothing is checked where a job server is running already (`--job_endpoint`).

    Raises:
      UsageError: Java or the jar is missing.
    """
    if options.view_as(PortableOptions).job_endpoint:
        return
    flink = options.view_as(FlinkRunnerOptions)
    java = JavaHelper.get_java()
    if not flink.flink_submit_uber_jar and shutil.which(java) is None:
        raise UsageError(
            f"--runner FlinkRunner needs Java, but {java} is no program here; install Java 11 or 17, set JAVA_HOME, or "
            "name a running job server with --job_endpoint HOST:PORT"
        )
    # What does not go through a job server asks the cluster for its version, and then for the jar, by itself.
    if flink.flink_submit_uber_jar and FlinkRunner.add_http_scheme(flink.flink_master).startswith("http"):
        return
    try:
        server = FlinkJarJobServer(options)
        server.local_jar(server.path_to_jar(), options.view_as(JobServerOptions).jar_cache_dir)
    except (ValueError, RuntimeError, OSError) as error:
        raise UsageError(
            f"Flink's job server is not to be had: {' '.join(str(error).split())}; download the jar for Flink "
            f"{flink.flink_version} elsewhere and name it with --flink_job_server_jar"
        ) from error
