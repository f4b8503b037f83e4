"""Flags for Beam: strict, with this process as the default place to run; and what the Flink runner needs."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import shutil
from typing import TYPE_CHECKING

from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.pipeline import Pipeline
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import create_runner
from apache_beam.utils.subprocess_server import JavaHelper

from beam_jobs.errors import UsageError
from maf_serving.errors import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Container, Iterable, Sequence

    from apache_beam.runners.runner import PipelineRunner

    from beam_jobs.options.job_options import JobOptions

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


def parse_beam_flags(flags: Sequence[str], *, own_flags: Iterable[str] = ()) -> PipelineOptions:
    """Beam's options from flags.

    Without `--runner` the job will run on threads of this process, one for each core. Beam itself drops a flag it does
    not know, with a warning in its log.

    Args:
      flags: what is left of a command line.
      own_flags: names of the job's own flags, to suggest for a misspelt one.

    Raises:
      UsageError: a flag is unknown to Beam, or its value is not valid, or the runner does not exist.
    """
    # The last one wins: what the user says comes after the defaults.
    defaults = ["--direct_running_mode=multi_threading", f"--direct_num_workers={available_cores()}"]
    parsers: list[argparse.ArgumentParser] = []
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            options = PipelineOptions([*defaults, *flags])
            names = options.get_all_options(add_extra_args_fn=parsers.append)
            _, unknown = parsers[0].parse_known_args(list(flags))
    except SystemExit as error:
        raise UsageError(complaint.getvalue().strip().rpartition("error: ")[2]) from error
    runner = make_runner(options)
    unknown = _without(unknown, FLINK_FLAGS) if isinstance(runner, FlinkRunner) else unknown
    if unknown:
        raise UsageError(_unknown_flag(unknown[0], [*own_flags, *(f"--{name}" for name in names)]))
    return options


def make_runner(options: PipelineOptions) -> PipelineRunner:
    """The runner the user asked for; Beam's in-process one if none. Raises `UsageError` if there is no such runner.

    Beam's own default, `DirectRunner`, may try to download a runner called Prism.
    """
    name = options.view_as(StandardOptions).runner
    if not name:
        return FnApiRunner()
    try:
        return create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner {name} cannot be used: {error}") from error


def make_pipeline(options: PipelineOptions) -> Pipeline:
    """An empty pipeline on that runner. Raises `UsageError` if the runner lacks an option or program it needs."""
    runner = make_runner(options)
    if isinstance(runner, FlinkRunner):
        prepare_flink(options)
    try:
        return Pipeline(runner=runner, options=options)
    except ValueError as error:
        raise UsageError(one_line(error)) from error


def check_places(options: JobOptions, pipeline_options: PipelineOptions) -> None:
    """Raises `UsageError` for paths on this machine where the workers run on machines that share none with it."""
    if not isinstance(make_runner(pipeline_options), DataflowRunner):
        return
    for flag, place in options.places():
        if place.is_here:
            raise UsageError(
                f"{flag} {place} is a path on this machine, which the workers of --runner DataflowRunner cannot reach; "
                "expected a URL such as gs://bucket/..."
            )


def runs_here(options: PipelineOptions) -> bool:
    """Whether workers are threads or children of this process, and so share its directory."""
    return not options.view_as(StandardOptions).runner


def runs_in_process(options: PipelineOptions) -> bool:
    """Whether workers are threads of this process."""
    return not options.view_as(StandardOptions).runner and _running_mode(options) != "multi_processing"


def tensorflow_threads(options: PipelineOptions) -> int | None:
    """Threads of TensorFlow in a worker process, so that those of all processes here add up to the cores.

    Threads of one process share TensorFlow's pools. `None` where the machines of the workers are not this one.
    """
    if options.view_as(StandardOptions).runner:
        return None
    if _running_mode(options) != "multi_processing":
        return available_cores()
    # Beam takes 0 workers to mean one for each core.
    processes: int = options.view_as(DirectOptions).direct_num_workers or available_cores()
    return max(1, available_cores() // processes)


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _running_mode(options: PipelineOptions) -> str:
    mode: str = options.view_as(DirectOptions).direct_running_mode
    return mode


def _without(arguments: Sequence[str], flags: Container[str]) -> list[str]:
    """The arguments that are neither one of the flags nor its value."""
    kept: list[str] = []
    value_follows = False
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in flags:
            value_follows = not value
        elif value_follows and not name.startswith("--"):
            value_follows = False
        else:
            kept.append(argument)
    return kept


def _unknown_flag(flag: str, known: Iterable[str]) -> str:
    if not flag.startswith("-"):
        return f"unexpected argument {flag!r}; expected flags and their values: put a glob in quotes"
    name = flag.partition("=")[0]
    close = difflib.get_close_matches(name, sorted(set(known)), n=1)
    hint = f"did you mean {close[0]}?" if close else "expected a flag of this command (see --help) or of Beam"
    return f"unknown argument {flag!r}; {hint}"


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
            f"Flink's job server is not to be had: {one_line(error)}; download the jar for Flink "
            f"{flink.flink_version} elsewhere and name it with --flink_job_server_jar"
        ) from error
