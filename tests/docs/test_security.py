"""The statements of docs/security.md, each by a test of its name."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from export import Contract, ContractError, ModelError
from export.builder import build
from maf_serving.page import element, to_html
from serving_config.generate import read_spec
from serving_config.local_server import ServerOptions, predict
from serving_config.local_server.connection_guard import ConnectionLimits
from serving_config.local_server.rest_door import BodyLimits
from serving_config.serve_options import parse_serve_flags

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "security.md"
PACKAGES = ("maf", "export", "beam_jobs", "serving_config")
HELD: dict[str, Callable[..., None]] = {}


def holds(statement):
    """Says which statement in bold a test is about."""

    def note(test):
        HELD[statement] = test
        return test

    return note


def test_every_statement_has_a_test():
    stated = {" ".join(text.split()).rstrip(".") for text in re.findall(r"\*\*(.+?)\*\*", GUIDE.read_text(), re.DOTALL)}
    assert stated == set(HELD)


@functools.cache
def trees():
    return {path: ast.parse(path.read_text()) for name in PACKAGES for path in (ROOT / name).rglob("*.py")}


def imports():
    """Modules that are imported, by the file."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield path, node.module


def calls():
    """What is called, as it is written, with its keywords."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield path, ast.unparse(node.func), {each.arg: ast.unparse(each.value) for each in node.keywords}


@holds("No pickle")
def test_nothing_unpickles():
    banned = {"pickle", "_pickle", "cPickle", "marshal", "dill", "cloudpickle", "joblib", "shelve"}
    found = {(str(path), module) for path, module in imports() if module.partition(".")[0] in banned}
    assert not found
    assert len(list(imports())) > 500, "the walk sees the imports"
    for path, function, keywords in calls():
        assert function.rpartition(".")[2] not in {"read_pickle", "to_pickle", "unsafe_load", "full_load"}, path
        assert keywords.get("allow_pickle", "False") == "False", path


@holds("YAML is loaded safely")
def test_yaml_makes_no_objects(tmp_path):
    loads = {function for _, function, _ in calls() if function.startswith("yaml.") and "load" in function}
    assert loads == {"yaml.safe_load", "yaml.safe_load_all"}
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"!!python/object/apply:pathlib.Path.touch [{tmp_path / 'made'}]\n")
    with pytest.raises(Exception, match="could not determine a constructor"):
        read_spec(spec)
    assert not (tmp_path / "made").exists()


@holds("No code from text")
def test_no_text_becomes_code():
    banned = {"eval", "exec", "compile", "os.system", "os.popen", "__import__", "subprocess.getoutput"}
    for path, function, keywords in calls():
        assert function not in banned, path
        assert keywords.get("shell", "False") == "False", path


@holds("imported and called")
def test_a_builder_is_code(tmp_path, monkeypatch):
    (tmp_path / "flows_that_run.py").write_text("def build():\n    raise ValueError('it ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="builder 'flows_that_run:build' failed: ValueError: it ran"):
        build("flows_that_run:build")


@holds("A contract cannot do more than be refused")
@pytest.mark.parametrize("text", ["", "nul", "[" * 200_000, "9" * 10_000, '{"a": ' * 50_000, "NaN", "\ud800", "{}"])
def test_a_broken_contract(text):
    with pytest.raises(ContractError) as refused:
        Contract.from_json(text)
    assert "\n" not in str(refused.value)


@holds("a SavedModel is code")
def test_a_saved_model_reads_files(tmp_path):
    import tensorflow as tf  # noqa: PLC0415  # seconds

    (tmp_path / "secret").write_text("of this process")
    module = tf.Module()
    module.read = tf.function(lambda: tf.io.read_file(str(tmp_path / "secret")), input_signature=[])
    tf.saved_model.save(module, str(tmp_path / "model"))
    assert tf.saved_model.load(str(tmp_path / "model")).read().numpy() == b"of this process"


@holds("Generated manifests mount models read-only")
def test_generated_manifests_mount_read_only():
    generated = ROOT / "examples" / "serving" / "generated"
    compose = yaml.safe_load((generated / "docker-compose.yml").read_text())
    volumes = [volume for service in compose["services"].values() for volume in service.get("volumes", ())]
    assert volumes
    assert all(volume["read_only"] for volume in volumes if volume["type"] == "bind")
    (pod,) = (
        document["spec"]["template"]["spec"]
        for document in yaml.safe_load_all((generated / "kubernetes" / "deployment.yaml").read_text())
        if document["kind"] == "Deployment"
    )
    mounts = [mount for container in pod["containers"] for mount in container["volumeMounts"]]
    assert mounts
    assert all(mount["readOnly"] for mount in mounts if mount["name"] in {"models", "config"})


@holds("It listens on 127.0.0.1")
def test_loopback_is_the_default(tmp_path):
    assert ServerOptions().host == "127.0.0.1"
    (tmp_path / "1").mkdir()
    flags = ["--model_name", "m", "--model_base", str(tmp_path)]
    assert parse_serve_flags(flags).listens_on == "127.0.0.1"
    assert parse_serve_flags([*flags, "--host", "0.0.0.0"]).listens_on == "0.0.0.0"  # noqa: S104  # not opened


@holds("Bodies are limited")
def test_the_default_limits_of_bodies():
    """That they are kept: tests/serving_config/local_server/test_hostile.py."""
    limits = BodyLimits()
    assert (limits.largest, limits.together) == (256 * 2**20, 2**30)


@holds("Slow clients are cut off")
def test_the_default_patience():
    """That it ends: test_hostile.py, test_connection_guard.py and test_unread_answers.py there."""
    bodies, connections = BodyLimits(), ConnectionLimits()
    assert (bodies.pause, bodies.total, connections.head) == (15, 300, 15)


@holds("Connections are limited")
def test_the_default_number_of_connections():
    assert ConnectionLimits().most == 1000


@holds("A tensor of a small message stays small")
def test_a_small_message_of_a_large_tensor():
    from tensorflow.core.framework import tensor_pb2, types_pb2  # noqa: PLC0415

    message = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.0])
    message.tensor_shape.dim.add(size=2**28)
    with pytest.raises(Exception, match="at most 67108864 bytes may be left out"):
        predict.from_proto("x", message)


def defined(test, path):
    """Whether a file of tests has a test of that name: what is held there is not held twice."""
    return f"def {test}(" in (ROOT / "tests" / path).read_text()


@holds("Whatever is sent gets an answer")
def test_hostile_requests_are_answered_elsewhere():
    assert defined(
        "test_malformed_requests_are_answered_and_good_ones_go_on", "serving_config/local_server/test_hostile.py"
    )
    assert defined(
        "test_whatever_is_sent_is_answered_and_is_no_error_of_the_server", "properties/test_request_properties.py"
    )


@holds("TLS on both doors")
def test_tls_is_tested_elsewhere():
    for path in (
        "serving_config/local_server/test_tls.py",
        "serving_config/client/test_tls.py",
        "beam_jobs/test_endpoint_tls.py",
    ):
        assert (ROOT / "tests" / path).read_text().count("def test_") > 1


@holds("No key is written anywhere")
def test_keys_travel_as_paths():
    from maf_serving.tls import Tls  # noqa: PLC0415

    tls = Tls(root_certificates="/no/root.pem", client_certificate="/no/cert.pem", client_key="/no/key.pem")
    assert "/no/key.pem" in repr(tls), "a path, which need not exist where the job is planned"
    assert "PRIVATE KEY" not in json.dumps(repr(tls))


@holds("Only an output of ours is replaced")
def test_a_foreign_directory_is_not_replaced(tmp_path):
    from beam_jobs import UsageError  # noqa: PLC0415
    from beam_jobs.output.staging import stage_output  # noqa: PLC0415

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="it is not replaced"):
        stage_output(str(tmp_path / "mine"), existing="replace")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


@holds("Reports escape what they show")
def test_markup_is_built_as_elements():
    hostile = "<script>alert('x')</script> & \"more\""
    html = to_html(element("p", hostile, title=hostile))
    assert "&lt;script&gt;alert" in html
    assert "title=\"<script&gt;alert('x')</script&gt; &amp; &quot;more&quot;\"" in html  # it cannot leave its quotes


def pinned():
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.lock").read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


@holds("Every dependency is pinned")
def test_the_lock_pins_one_version_of_each():
    for requirement in pinned():
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
        assert requirement.url is None, requirement
    here = [requirement.name for requirement in pinned() if requirement.marker is None or requirement.marker.evaluate()]
    assert len(here) == len(set(here))
    project = (ROOT / "pyproject.toml").read_text()
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in here}
    declared = re.findall(r'^    "([A-Za-z0-9_.-]+)(?:\[\w+\])?[><=]', project, re.MULTILINE)
    assert len(declared) > 20
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in declared} <= names


@holds("What is installed is what is pinned, and fits together")
def test_the_environment_is_the_locks():
    others = {}
    for requirement in pinned():
        if requirement.marker is None or requirement.marker.evaluate():
            try:
                version = importlib.metadata.version(requirement.name)
            except importlib.metadata.PackageNotFoundError:
                continue  # an environment may hold less: the lock is for development
            if not requirement.specifier.contains(version, prereleases=True):
                others[requirement.name] = version
    assert not others
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@holds("Every dependency is pinned")
def test_what_is_pinned_takes_every_python_it_is_pinned_for():
    """`pip install -r requirements.lock` on another Python than this one's would refuse the whole lock."""
    pythons = [f"3.{minor}" for minor in range(10, 14)]
    refused, seen = [], 0
    for requirement in pinned():
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            takes = importlib.metadata.metadata(requirement.name).get("Requires-Python")
        except importlib.metadata.PackageNotFoundError:
            continue
        seen += 1
        for python in pythons:
            here = {"python_version": python, "python_full_version": f"{python}.1"}
            wanted = requirement.marker is None or requirement.marker.evaluate(here)
            if wanted and takes and not SpecifierSet(takes).contains(f"{python}.1"):
                refused.append(f"{requirement} on Python {python}: it takes {takes}")
    assert not refused
    assert seen > 100
