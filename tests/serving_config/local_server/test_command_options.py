"""From the command's flags to the parts of the server."""

from __future__ import annotations

import pytest

from maf_serving.batching import BatchingParameters
from maf_serving.model_spec import VersionPolicy
from serving_config import UsageError
from serving_config.local_server import RequestError, command_options
from serving_config.local_server.loading import replay_warmup
from serving_config.local_server.model_config import ModelConfig
from serving_config.serve_options import parse_serve_flags


@pytest.fixture
def flags(tmp_path):
    """Options for a model base directory and more flags."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    return lambda *more: parse_serve_flags([f"--model_base={tmp_path / 'm'}", *more])


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "file.config"
        path.write_text(text)
        return str(path)

    return write


def test_defaults(flags, tmp_path):
    options = flags()
    assert command_options.models(options) == (ModelConfig(name="default", base_path=str(tmp_path / "m")),)
    server = command_options.server_options(options)
    assert (server.host, server.port, server.rest_api_port) == ("127.0.0.1", 8500, 8501)
    assert server.metrics_path == "/monitoring/prometheus/metrics"  # as in every generated configuration
    assert not server.grpc_health_checks
    assert command_options.load_policy(options).retries == 5
    loading = command_options.load_options(options)
    assert loading.batching(tmp_path) is None
    assert loading.warm_up is replay_warmup
    assert command_options.tls(options) is None


def test_a_version_is_served_alone(tmp_path, monkeypatch):
    for name in ("1", "3", "draft"):
        (tmp_path / "m" / name).mkdir(parents=True)
        (tmp_path / "m" / name / "saved_model.pb").touch()
    expected = (
        ModelConfig(
            name="default", base_path=str(tmp_path / "m"), policy=VersionPolicy(kind="specific", versions=(3,))
        ),
    )
    monkeypatch.chdir(tmp_path / "m" / "3")
    for path in (str(tmp_path / "m" / "3"), f"{tmp_path}/m/3/", ".", "../3"):
        assert command_options.models(parse_serve_flags(["--model", path])) == expected
    with pytest.raises(UsageError, match=r"draft, which holds a saved_model\.pb; expected a version, whose directory"):
        parse_serve_flags(["--model", "../draft"])


def test_flags_reach_the_server(flags, write):
    monitoring = write("prometheus_config { enable: true path: '/m' }")
    options = flags(
        "--rest_api_port=0",
        "--host=::1",
        f"--monitoring_config_file={monitoring}",
        "--enable_grpc_healthcheck_service",
        "--enable_model_warmup=false",
        "--max_num_load_retries=1",
        "--load_retry_interval_micros=500000",
        "--tensorflow_intra_op_parallelism=2",
    )
    server = command_options.server_options(options)
    assert (server.host, server.rest_api_port, server.metrics_path) == ("::1", None, "/m")
    assert server.grpc_health_checks
    policy = command_options.load_policy(options)
    assert (policy.retries, policy.retry_seconds) == (1, 0.5)
    loading = command_options.load_options(options)
    assert loading.threads.session_config().intra_op_parallelism_threads == 2
    assert loading.warm_up is not replay_warmup


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ("prometheus_config { path: '/m' }", None),
        ("", None),
    ],
)
def test_the_monitoring_configuration_decides_about_metrics(flags, write, text, path):
    options = flags(f"--monitoring_config_file={write(text)}")
    assert command_options.server_options(options).metrics_path == path


def test_batching_for_all_or_for_each_model(flags, write, tmp_path):
    parameters = write("max_batch_size { value: 8 }")
    loading = command_options.load_options(flags("--enable_batching", f"--batching_parameters_file={parameters}"))
    assert loading.batching(tmp_path).max_batch_size == 8
    assert command_options.load_options(flags("--enable_batching")).batching(tmp_path) == BatchingParameters()
    loading = command_options.load_options(flags("--enable_batching", "--enable_per_model_batching_parameters"))
    assert loading.batching(tmp_path) is None
    (tmp_path / "batching_params.pbtxt").write_text("max_batch_size { value: 16 }")
    assert loading.batching(tmp_path).max_batch_size == 16
    with pytest.raises(UsageError, match="without --enable_batching have no effect"):
        command_options.load_options(flags(f"--batching_parameters_file={parameters}"))
    shared = write("max_batch_size { value: 8 } num_batch_threads { value: 3 }")  # of which only the threads count
    both = (f"--batching_parameters_file={shared}", "--enable_per_model_batching_parameters")
    own = command_options.load_options(flags("--enable_batching", *both)).batching(tmp_path)
    assert (own.max_batch_size, own.num_batch_threads) == (16, 3)


def test_functions_for_xla_are_refused_unless_asked_for(flags):
    assert command_options.load_options(flags()).xla == "refuse"
    assert command_options.load_options(flags("--xla_cpu_compilation_enabled")).xla == "compile"


CONFIG = 'name: "a" model_platform: "tensorflow" base_path: "{base}"'


def test_a_configuration_of_several_models(write, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    path = write(
        "model_config_list: {"
        f'config: {{ name: "a", base_path: "{tmp_path}/a", model_platform: "tensorflow" '
        'model_version_policy { specific { versions: 3 versions: 4 } } version_labels { key: "stable" value: 3 } }'
        f'config {{ name: "b" base_path: "{tmp_path}/b" model_platform: "tensorflow" '
        "model_version_policy { latest { num_versions: 2 } } } }"
    )
    first, second = command_options.models(parse_serve_flags(["--model_config_file", path]))
    assert (first.name, first.policy) == ("a", VersionPolicy(kind="specific", versions=(3, 4)))
    assert first.labels == {"stable": 3}
    assert second.policy == VersionPolicy(num_versions=2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no model_config_list"),
        ("model_config_list {}", "model_config_list is empty"),
        ("model_config_list { config { CONFIG } config { CONFIG } }", "Illegal to list model a multiple times"),
        ("model_config_list { config { name: 'a' base_path: '/x' } }", "neither ModelServerConfig::model_type"),
        ("model_config_list { config { name: 'a' base_path: '/x' model_platform: 'x' } }", "unsupported platform x"),
        ("model_config_list { config { base_path: '/x' model_platform: 'tensorflow' } }", "a model has no name"),
        ("model_config_list { config { name: 'a' model_platform: 'tensorflow' } }", "model a has no base_path"),
        ("model_config_list { config { CONFIG model_version_policy { specific {} } } }", "specific without versions"),
        ("model_config_list { config { GONE } }", "which is no directory"),
        ("model_config_list { config { REMOTE } }", "the local server reads local directories alone"),
        ("model_config_list { config { RELATIVE } }", "Expected model a to have an absolute path or URI"),
        ("model_config_list {", "is no ModelServerConfig in protobuf's text format"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(write, tmp_path, text, complaint):
    for word, base in (("CONFIG", tmp_path), ("GONE", "/nowhere"), ("REMOTE", "gs://b/m"), ("RELATIVE", "models/m")):
        text = text.replace(word, CONFIG.format(base=base))
    with pytest.raises((UsageError, RequestError), match=complaint):
        command_options.models(parse_serve_flags(["--model_config_file", write(text)]))
