"""Which server is run, and with which command line."""

from __future__ import annotations

import stat

import pytest

from serving_config import UsageError
from serving_config.serve_options import TF_SERVING_FLAGS, parse_serve_flags
from serving_config.serving_backend import choose_backend, docker_command

BINARY = "/opt/tensorflow_model_server"


def finds(*programs):
    """A PATH with these programs."""
    return lambda name: next((path for path in programs if path == name or path.endswith(f"/{name}")), None)


@pytest.mark.parametrize(
    ("requested", "environment", "programs", "docker", "kind", "reason"),
    [
        ("auto", {"TENSORFLOW_MODEL_SERVER": BINARY}, [BINARY], None, "binary", "TENSORFLOW_MODEL_SERVER names it"),
        ("auto", {}, [BINARY, "/bin/docker"], None, "binary", "it is on PATH"),
        ("auto", {}, ["/bin/docker"], None, "docker", "no tensorflow_model_server on PATH, and Docker runs"),
        ("auto", {}, ["/bin/docker"], "Docker does not run", "local", "on PATH and Docker does not run"),
        ("auto", {}, [], None, "local", "on PATH and there is no docker on PATH"),
        ("docker", {}, [BINARY, "/bin/docker"], None, "docker", "--backend is docker"),
        ("local", {"TENSORFLOW_MODEL_SERVER": BINARY}, [BINARY], None, "local", "--backend is local"),
    ],
)
def test_the_real_server_is_preferred(requested, environment, programs, docker, kind, reason):
    backend = choose_backend(requested, environment, which=finds(*programs), docker_fails=lambda _program: docker)
    assert backend.kind == kind
    assert reason in backend.reason


@pytest.mark.parametrize(
    ("requested", "environment", "complaint"),
    [
        ("binary", {}, "--backend is binary, but there is no tensorflow_model_server on PATH; set TENSORFLOW_MODEL"),
        ("docker", {}, "--backend is docker, but there is no docker on PATH; start Docker, or"),
        ("auto", {"TENSORFLOW_MODEL_SERVER": "/nowhere"}, "TENSORFLOW_MODEL_SERVER is /nowhere, which is no program"),
    ],
)
def test_a_backend_that_is_not_there_is_refused(requested, environment, complaint):
    with pytest.raises(UsageError, match=complaint):
        choose_backend(requested, environment, which=finds())


@pytest.mark.parametrize(
    ("script", "reason"), [("exit 1", "Docker does not run"), ("echo 27.1", None), ("exit 0", "Docker does not run")]
)
def test_docker_is_asked_whether_it_runs(tmp_path, script, reason):
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    backend = choose_backend("auto", {}, which=finds(str(docker)))
    assert (backend.kind, backend.program) == (("docker", str(docker)) if reason is None else ("local", ""))


@pytest.fixture
def base(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    return str(tmp_path / "m")


def test_the_real_server_gets_its_flags_with_absolute_paths(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batching.txt").touch()
    model = ["--model_base", "m", "--model_name=demo", "--rest_api_port", "0"]
    batching = ["--enable_batching", "--batching_parameters_file", "batching.txt"]
    options = parse_serve_flags([*model, *batching, "--enable_profiler=true"])
    assert options.real_server_flags() == [
        "--port=8500",
        "--rest_api_port=0",
        "--model_name=demo",
        f"--model_base_path={base}",
        "--enable_batching=true",
        f"--batching_parameters_file={tmp_path}/batching.txt",
        "--enable_profiler=true",
    ]


def test_the_docker_command(base, tmp_path):
    config = tmp_path / "serving" / "models.config"
    config.parent.mkdir()
    config.touch()
    options = parse_serve_flags(["--model_config_file", str(config), "--port=9000", "--docker_image=tfs:1"])
    assert docker_command("/bin/docker", options, [base, "gs://bucket/m"]) == [
        "/bin/docker",
        "run",
        "--rm",
        "--init",
        "--publish=127.0.0.1:9000:9000",
        "--publish=127.0.0.1:8501:8501",
        f"--mount=type=bind,source={base},target={base},readonly",
        f"--mount=type=bind,source={config.parent},target={config.parent},readonly",
        "--entrypoint=tensorflow_model_server",
        "tfs:1",
        "--port=9000",
        "--rest_api_port=8501",
        f"--model_config_file={config}",
    ]


def test_docker_listens_where_it_is_told(base):
    options = parse_serve_flags(["--model_base", base, "--host=0.0.0.0", "--rest_api_port=0"])
    published = [each for each in docker_command("docker", options, [base]) if "publish" in each]
    assert published == ["--publish=0.0.0.0:8500:8500"]
    options = parse_serve_flags(["--model_base", base, "--host=::1", "--rest_api_port=0"])
    assert "--publish=[::1]:8500:8500" in docker_command("docker", options, [base])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--model and --model_config_file: neither given"),
        (["--model_base", "BASE", "--model_config_file", "x"], "both given"),
        (["--model_base", "/nowhere"], "--model is /nowhere, which is no directory"),
        (["--model_config_file", "/nowhere"], "--model_config_file is /nowhere, which is no file"),
        (["--model_base", "BASE", "--ssl_config_file", "/nowhere"], "--ssl_config_file is /nowhere, which is no file"),
        (["--model_base", "BASE", "--port", "x"], "argument --port: invalid int value"),
        (["--model_base", "BASE", "--port", "8501"], "are both 8501; expected two ports"),
        (["--model_base", "BASE", "--port", "99999"], "--port is 99999; expected 1 to 65535"),
        (["--model_base", "BASE", "--enable_batching=maybe"], "'maybe' is neither true nor false"),
        (["--model_base", "BASE", "--max_num_load_retries=many"], "'many' is no integer"),
        (["--modle", "BASE"], "did you mean --model?"),
        (["--model_base", "BASE", "--enable_bacthing"], "did you mean --enable_batching"),
        (["--model_base", "BASE", "stray"], "unexpected argument 'stray'"),
        (["--model_base", "BASE", "--backend", "remote"], "invalid choice: 'remote'"),
    ],
)
def test_flags_that_make_no_sense_are_refused(base, arguments, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_serve_flags([base if argument == "BASE" else argument for argument in arguments])


def test_a_switch_takes_a_value_or_none(base):
    for given, value in (([], None), (["--enable_batching"], "true"), (["--enable_batching=false"], "false")):
        assert parse_serve_flags(["--model_base", base, *given]).flags.get("enable_batching") == value
    assert all(kind in ("text", "number", "switch") for kind, _ in TF_SERVING_FLAGS.values())
