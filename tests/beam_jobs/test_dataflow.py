"""What would be sent to Dataflow: the graph is built and checked here, nothing is submitted."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import DockerEnvironment

from beam_jobs import ScoreOptions, UsageError
from beam_jobs.jobs.running import Publish, add_steps, prepare_job
from beam_jobs.jobs.score import plan_score
from beam_jobs.options.flags import score_flags
from beam_jobs.runner.options import check_places, parse_beam_flags
from tests.beam_jobs.kept_file_system import KeptFileSystem  # noqa: F401  # registers itself with Beam

DEPLOY = Path(__file__).parents[2] / "deploy" / "dataflow"
IMAGE = "region-docker.pkg.dev/project/repository/maf-serving:1"
GROUP = common_urns.primitives.GROUP_BY_KEY.urn


@pytest.fixture
def job(model_base, write_parquet, make_columns, tmp_path, monkeypatch):
    """A job whose model, input and output are in a store that no path of this machine leads to."""
    monkeypatch.setattr("beam_jobs.sources.parquet_source.MIN_UNIT_ROWS", 1)
    path = write_parquet("a.parquet", make_columns(2_000, 1), row_group_size=500)
    options = ScoreOptions(
        model=f"kept://{model_base}", input_patterns=(f"kept://{path}",), output=f"kept://{tmp_path}/out", num_shards=2
    )
    job, staged = prepare_job(plan_score, options, PipelineOptions(["--runner=DataflowRunner"]))
    staged.hand_over()
    yield job, staged
    staged.discard()


@pytest.fixture
def tallies_of(job):
    """Adds the job to a pipeline, with the step that publishes what it wrote."""

    def build(pipeline: beam.Pipeline) -> None:
        add_steps(job[0], pipeline, job[1], threads=None) | "Publish" >> Publish(*job, start=0)

    return build


def test_the_graph_survives_the_wire_and_runs_in_the_one_image(tallies_of):
    pipeline = beam.Pipeline(options=PipelineOptions([]))
    tallies_of(pipeline)
    sent = pipeline.to_runner_api(default_environment=DockerEnvironment.from_container_image(IMAGE))
    graph = beam_runner_api_pb2.Pipeline.FromString(sent.SerializeToString())
    payloads = [
        beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image
        for environment in graph.components.environments.values()
        if environment.urn == common_urns.environments.DOCKER.urn
    ]
    assert set(payloads) == {IMAGE}
    bounded = beam_runner_api_pb2.IsBounded.BOUNDED
    assert {each.is_bounded for each in graph.components.pcollections.values()} == {bounded}
    names = {each.unique_name.partition("/")[0] for each in graph.components.transforms.values()}
    assert {"ReadTable", "Score", "ToScoredRows", "WriteScored", "WriteInvalid", "WriteFailed", "Publish"} <= names
    again = beam.Pipeline.from_runner_api(graph, FnApiRunner(), PipelineOptions([]))
    assert len(again.to_runner_api().components.transforms) == len(graph.components.transforms)


def test_only_work_units_are_shuffled_before_the_rows_are_written(tallies_of):
    """Rows are never grouped: `Create` spreads the work units, and `--num_shards` names of files and ranges of rows."""
    pipeline = beam.Pipeline(options=PipelineOptions([]))
    tallies_of(pipeline)
    transforms = pipeline.to_runner_api().components.transforms.values()
    groupings = Counter(each.unique_name.split("/")[1] for each in transforms if each.spec.urn == GROUP)
    # The counts of all bundles are combined for the step that publishes.
    assert groupings == {"WorkUnits": 1, "MergeShards": 2, "CombinePerKey": 1}


def test_dataflow_takes_the_job(tallies_of, tmp_path):
    """With the extra `gcp`: Beam makes the description of the job that it would submit."""
    try:
        importlib.import_module("apache_beam.runners.dataflow.internal.apiclient")
    except ImportError as error:
        pytest.skip(f"apache-beam[gcp] is not installed: {error}")
    flags = [
        "--project=some-project",
        "--region=europe-west1",
        "--temp_location=gs://bucket/tmp",
        "--no_auth",
        "--dry_run=True",
    ]
    options = PipelineOptions([*flags, f"--sdk_container_image={IMAGE}", "--job_name=score"])
    pipeline = beam.Pipeline(runner=DataflowRunner(), options=options)
    tallies_of(pipeline)
    result = pipeline.run()
    description = json.loads(result.job.json())
    assert "score" in description["name"]
    environments = pipeline.runner.proto_pipeline.components.environments.values()
    images = {beam_runner_api_pb2.DockerPayload.FromString(each.payload).container_image for each in environments}
    assert images == {IMAGE}


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"model": "models/demo"}, "--model models/demo is a path on this machine"),
        ({"input_patterns": ("gs://b/*", "a.csv")}, "--input a.csv is a path on this machine"),
        ({"output": "/data/out"}, "--output /data/out is a path on this machine"),
    ],
)
def test_paths_that_its_workers_cannot_reach_are_refused(places, message):
    options = parse_beam_flags(["--runner=DataflowRunner"])
    remote = {"model": "gs://b/m", "input_patterns": ("gs://b/*",), "output": "gs://b/o"}
    check_places(ScoreOptions(**remote), options)
    with pytest.raises(UsageError, match=message):
        check_places(ScoreOptions(**{**remote, **places}), options)


def test_the_template_is_written_with_the_image(tmp_path):
    path = tmp_path / "out" / "template.json"
    command = [sys.executable, str(DEPLOY / "make_template.py"), f"--image={IMAGE}", f"--output={path}"]
    root = str(DEPLOY.parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 0, done.stderr
    template = json.loads(path.read_text())
    assert (template["image"], template["sdkInfo"]) == (IMAGE, {"language": "PYTHON"})
    assert template["metadata"] == json.loads((DEPLOY / "score_metadata.json").read_text())


def test_the_template_names_flags_of_the_command():
    metadata = json.loads((DEPLOY / "score_metadata.json").read_text())
    parameters = {each["name"]: each for each in metadata["parameters"]}
    assert {f"--{name}" for name in parameters} <= set(score_flags().flags())
    required = {name for name, each in parameters.items() if not each.get("isOptional")}
    assert required == {"model", "input", "output"}
    for each in parameters.values():
        assert each["label"]
        assert each["helpText"]
        assert all(re.compile(regex) for regex in each.get("regexes", []))


def test_the_image_has_the_beam_that_is_locked_and_no_model_code_at_run_time():
    text = (DEPLOY / "Dockerfile").read_text()
    lock = (DEPLOY.parents[1] / "requirements.lock").read_text()
    locked = re.search(r"^apache-beam(?:\[\w+\])?==(\S+)", lock, re.MULTILINE)
    assert f"_sdk:{locked[1]}" in text
    assert f'"apache-beam[gcp]=={locked[1]}"' in text
    assert "tensorflow-probability" not in text
    assert "tf-keras" not in text
