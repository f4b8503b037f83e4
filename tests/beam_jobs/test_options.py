"""Flags: misspelt ones are refused, Beam's own reach Beam, the rest is checked."""

from __future__ import annotations

import os

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_jobs import UsageError
from beam_jobs.options.flags import (
    evaluate_flags,
    parse_evaluate_flags,
    parse_sample_flags,
    parse_score_flags,
    sample_flags,
    score_flags,
)
from beam_jobs.runner.options import make_runner, parse_beam_flags, tensorflow_threads

REQUIRED = ["--model=m", "--input=a.csv, b/*.parquet", "--output=o"]


def test_flags_become_options():
    options, rest = parse_score_flags([*REQUIRED, "--keep", "id,c0", "--overwrite", "--runner=FlinkRunner"])
    assert options.input_patterns == ("a.csv", "b/*.parquet")
    assert options.keep == ("id", "c0")
    assert options.existing_output == "replace"
    assert rest == ["--runner=FlinkRunner"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=m", "--input=a", "--ouput=o"], "unknown argument '--ouput=o'; did you mean --output?"),
        (REQUIRED[:2], "required: --output"),
        ([*REQUIRED, "--rows_per_call=0"], "--rows_per_call is 0; expected at least 1"),
        ([*REQUIRED, "--batch_size=x"], "invalid int value: 'x'"),
        ([*REQUIRED, "--keep=a,*"], "expected either"),
        ([*REQUIRED, "--keep=a,a"], "each once"),
        (["--model=m", "--input=", "--output=o"], "expected paths or globs"),
        ([*REQUIRED, "--max_rejected=5"], "--max_rejected is 5.0; expected a share of the rows, from 0 to 1"),
        ([*REQUIRED, "--compression=zstd", "--output_format=csv"], "'csv'; expected one of none, gzip"),
        ([*REQUIRED, "--rows_per_file=0"], "--rows_per_file is 0; expected at least 1"),
        ([*REQUIRED, "--on_bad_file=skip"], "invalid choice: 'skip'"),
    ],
)
def test_flags_of_ours_are_checked(flags, message):
    with pytest.raises(UsageError) as refusal:
        parse_score_flags(flags)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--direct_num_wrkers=2"], "did you mean --direct_num_workers?"),
        (["--qqqq", "3"], "unknown argument '--qqqq'; expected a flag"),
        (["b.parquet"], "put a glob in quotes"),
        (["--direct_num_workers=many"], "invalid int value: 'many'"),
        (["--runner=NoRunner"], "--runner NoRunner cannot be used"),
    ],
)
def test_flags_that_beam_does_not_know_are_refused(flags, message):
    with pytest.raises(UsageError) as refusal:
        parse_beam_flags(flags)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("parse", "flags", "required"),
    [
        (parse_score_flags, score_flags, REQUIRED),
        (parse_sample_flags, sample_flags, [*REQUIRED, "--num_samples=1", "--seed=1"]),
        (parse_evaluate_flags, evaluate_flags, REQUIRED),
    ],
)
def test_no_flag_of_beam_is_taken_for_a_misspelt_one_of_ours(parse, flags, required):
    parsers: list = []
    names = PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    beam_flags = [flag for action in parsers[0]._actions for flag in action.option_strings if flag != "--help"]
    assert not set(beam_flags) & set(flags().flags()) - {"-h"}
    for flag in (*beam_flags, *(f"--{name}" for name in names)):
        if flag not in flags().flags():
            assert parse([*required, flag])[1] == [flag]


def test_threads_and_workers_make_up_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    default = parse_beam_flags([])
    assert default.view_as(DirectOptions).direct_num_workers == 8
    assert isinstance(make_runner(default), FnApiRunner)
    assert tensorflow_threads(default) == 8
    processes = ["--direct_running_mode=multi_processing", "--direct_num_workers"]
    assert tensorflow_threads(parse_beam_flags([*processes, "4"])) == 2
    assert tensorflow_threads(parse_beam_flags([*processes, "0"])) == 1
    assert tensorflow_threads(parse_beam_flags(["--runner=PortableRunner"])) is None
