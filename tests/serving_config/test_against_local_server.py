"""The generator's files, the client and rollouts together, against the local server."""

import re
import shutil
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import urllib3

from serving_config import Client, JobError, UsageError
from serving_config.__main__ import main as generate
from serving_config.client.options import parse_call
from serving_config.client.table_call import call_table
from serving_config.errors import InvalidArgumentError, ModelNotFoundError
from serving_config.labels.options import parse_rollout
from serving_config.labels.rollout import Rollout
from serving_config.rollout import main as rollout
from tests.serving_config.served_flow import await_model, free_ports, log_prob, start_script, stop, write_flow


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Versions 1 to 4 of one model, each with its number as its scale."""
    base = tmp_path_factory.mktemp("versions")
    for version in (1, 2, 3, 4):
        write_flow(base / str(version), float(version))
    return base


@pytest.fixture(scope="module")
def place(tmp_path_factory, versions):
    """A server that serves versions 1 (stable) and 2 (canary), started by the generated script."""
    root = tmp_path_factory.mktemp("served")
    for version in (1, 2, 3, 4):
        shutil.copytree(versions / str(version), root / "models" / "flow" / str(version))
    port, rest_port = free_ports(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        flags = ["--model_base", "models/flow", "--model_name", "flow", "--output", "serving", "--port", str(port)]
        flags += ["--rest_api_port", str(rest_port), "--config_poll_seconds", "1"]
        flags += ["--version_policy", "specific=1,2", "--version_labels", "stable=1,canary=2"]
        patch.setattr("sys.argv", ["serving_config", *flags])
        assert generate() == 0
    log = root / "server.log"
    process = start_script(root / "serving" / "serve.sh", log)
    try:
        addresses = {
            "rest": {"rest_url": f"http://127.0.0.1:{rest_port}"},
            "grpc": {"grpc_target": f"127.0.0.1:{port}"},
        }
        await_model("flow", log, process, **addresses["rest"])
        yield root, addresses
    finally:
        stop(process)


@pytest.fixture(params=["rest", "grpc"])
def at(request, place):
    return place[1][request.param]


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    return rng.normal(size=(500, 2)).astype(np.float32), rng.normal(size=(500, 1)).astype(np.float32)


def test_versions_and_labels_answer_for_themselves(at, rows):
    x, c = rows
    for which, scale in (({"version": 1}, 1.0), ({"version_label": "canary"}, 2.0), ({}, 2.0)):
        with Client("flow", **at, **which, rows_per_request=64) as client:
            np.testing.assert_allclose(client.log_prob(x, c), log_prob(x, c, scale), rtol=1e-5)
            z = client.inverse(x, c)
            np.testing.assert_allclose(client.forward(z, c), x, rtol=1e-4, atol=1e-5)


def test_both_transports_draw_the_same(place, rows):
    _, c = rows
    draws = []
    for at in place[1].values():
        with Client("flow", **at, version=1, rows_per_request=99) as client:
            x, density = client.sample_with_log_prob(c, num_samples=2, seed=9)
            np.testing.assert_allclose(density[0], log_prob(x[0], c, 1.0), rtol=1e-4)
            draws.append(x)
    np.testing.assert_array_equal(*draws)


def test_refusals_have_their_types_and_words(at):
    with Client("nope", **at) as client, pytest.raises(ModelNotFoundError, match="nope"):
        client.log_prob([[0, 0]], [[0]])
    with Client("flow", **at, version=77) as client, pytest.raises(ModelNotFoundError, match="77"):
        client.model_status()
    with Client("flow", **at, version_label="nope") as client, pytest.raises(InvalidArgumentError, match="label"):
        client.log_prob([[0, 0]], [[0]])


def test_the_dashboard_asks_for_metrics_that_are_there(place, at):
    root, addresses = place
    with Client("flow", **at) as client:
        client.log_prob([[0, 0]], [[0]])
    dashboard = (root / "serving" / "grafana_dashboard.json").read_text()
    asked = set(re.findall(r"(:tensorflow:serving:\w+)(?=[{,])", dashboard))
    url = addresses["rest"]["rest_url"] + "/monitoring/prometheus/metrics"
    page = urllib3.request("GET", url).data.decode()
    there = set(re.findall(r'^(:tensorflow:serving:\w+)\{.*model_name="flow"', page, re.MULTILINE))
    assert len(asked) >= 4
    assert asked <= there


def test_a_table_goes_through(at, rows, tmp_path):
    x, c = rows
    pq.write_table(pa.table({"c0": c[:, 0], "x0": x[:, 0], "x1": x[:, 1]}), tmp_path / "rows.parquet")
    ((name, value),) = at.items()
    flags = ["log_prob", f"--{name}", value, "--model_name", "flow", "--version_label", "stable"]
    flags += ["--event_columns", "x0,x1", "--conditional_columns", "c0", "--rows_per_request", "50"]
    paths = ["--input", str(tmp_path / "rows.parquet"), "--output", str(tmp_path / "out.parquet")]
    assert call_table(parse_call([*flags, *paths])).rows == 500
    written = pq.read_table(tmp_path / "out.parquet")["log_prob"].to_numpy()
    np.testing.assert_allclose(written, log_prob(x, c, 1.0), rtol=1e-5)


def _flags(place, operation, transport, *more):
    root, addresses = place
    ((name, value),) = addresses[transport].items()
    config = str(root / "serving" / "models.config")
    return [operation, "--models_config", config, "--model_name", "flow", f"--{name}", value, *map(str, more)]


def _versions(place):
    labels = {}
    for label in ("stable", "canary"):
        with Client("flow", **place[1]["grpc"], version_label=label) as client:
            labels[label] = client.metadata().version
    return labels


def test_labels_move_under_load_without_a_failed_request(place, rows, capsys):
    x, c = rows
    ended, failures, answered = threading.Event(), [], []

    def call():
        with Client("flow", **place[1]["grpc"], version_label="stable") as client:
            while not ended.is_set():
                try:
                    answered.append(float(client.log_prob(x[:3], c[:3])[0]))
                except Exception as error:  # noqa: BLE001  # whatever it is, it is counted
                    failures.append(error)

    load = threading.Thread(target=call)
    load.start()
    try:
        assert _versions(place) == {"stable": 1, "canary": 2}
        assert rollout(_flags(place, "promote", "rest", "--dry_run")) == 0
        assert capsys.readouterr().out.splitlines() == [
            "move label stable of model flow from version 1 to version 2",
            "label stable: version 2; nothing has been changed (--dry_run)",
        ]
        assert _versions(place) == {"stable": 1, "canary": 2}

        # promoted by the file alone, back and forth by gRPC
        assert rollout(_flags(place, "promote", "rest", "--wait_seconds", 60)) == 0
        assert _versions(place) == {"stable": 2, "canary": 2}
        seen = len(answered)
        while len(answered) < seen + 2 and not failures:
            time.sleep(0.01)
        assert rollout(_flags(place, "rollback", "grpc", "--apply", "push")) == 0
        assert _versions(place) == {"stable": 1, "canary": 2}
        capsys.readouterr()

        # a version that is not loaded yet is, before the label moves
        flags = _flags(place, "assign", "rest", "--label", "canary", "--version", 3, "--wait_seconds", 60)
        assert rollout(flags) == 0
        assert capsys.readouterr().out.splitlines() == [
            "load version 3 of model flow",
            "move label canary of model flow from version 2 to version 3",
            "label canary: version 3; the server answers for it",
        ]
        assert rollout(_flags(place, "assign", "grpc", "--label", "canary", "--version", 4, "--apply", "push")) == 0
        assert rollout(_flags(place, "promote", "grpc", "--apply", "push")) == 0
        assert _versions(place) == {"stable": 4, "canary": 4}
        assert rollout(_flags(place, "promote", "rest")) == 0
        assert capsys.readouterr().out.splitlines()[-2].startswith("label stable of model flow is on version 4 already")
    finally:
        ended.set()
        load.join()
    assert failures == []
    expected = {round(float(log_prob(x[:1], c[:1], scale)[0]), 3) for scale in (1.0, 2.0, 4.0)}
    assert {round(value, 3) for value in answered} == expected


def test_a_gate_lets_the_better_version_pass_and_refuses_the_worse(place, tmp_path, capsys):
    """Version 2 has twice the scale of version 1, which the rows have."""
    root, _ = place
    config = root / "serving" / "models.config"
    c = np.random.default_rng(5).normal(size=(2_000, 1))
    x = c + np.random.default_rng(6).normal(size=(2_000, 2))
    pq.write_table(pa.table({"x0": x[:, 0], "x1": x[:, 1], "c0": c[:, 0]}), tmp_path / "test, rows.parquet")
    gate = ["--apply", "push", "--gate", f'"{tmp_path}/test, rows.parquet"']
    for label, version in (("stable", 1), ("canary", 2)):
        flags = ["--version_label", label, "--version", version, "--apply", "push"]
        assert rollout(_flags(place, "assign", "grpc", *flags)) == 0
    before = config.read_text()
    capsys.readouterr()
    assert rollout(_flags(place, "promote", "grpc", *gate, "--max_regression", 0.01)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    gap = log_prob(x, c, 1.0).mean() - log_prob(x, c, 2.0).mean()
    assert f"version 2 of model flow is worse than version 1: mean NLL {gap:+.4f} ± 0.0" in line
    assert line.endswith("0.01 nats. Nothing was changed: keep version 1, or say --override_gate")
    assert config.read_text() == before
    assert _versions(place) == {"stable": 1, "canary": 2}
    # the other way round
    flags = ["--version_label", "canary", "--from_label", "stable", "--gate_output", tmp_path / "comparison"]
    assert rollout(_flags(place, "promote", "grpc", *gate, *flags)) == 0
    assert f"version 1 passes: mean NLL {-gap:+.4f} ± 0.0" in capsys.readouterr().out
    assert _versions(place) == {"stable": 1, "canary": 1}
    assert "Better than the baseline:" in (tmp_path / "comparison" / "report.html").read_text()


def test_a_version_that_does_not_load_moves_no_label(place, capsys):
    root, _ = place
    config = root / "serving" / "models.config"
    before, text = _versions(place), config.read_text()
    broken = root / "models" / "flow" / "9"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"this is no SavedModel")
    try:
        flags = _flags(place, "assign", "rest", "--version", 9, "--wait_seconds", 2)
        assert rollout(flags) == 1
        assert "no label has been moved" in capsys.readouterr().err
        assert rollout(_flags(place, "assign", "rest", "--version", 77, "--wait_seconds", 1)) == 1
        assert "version 77 of model flow is not available after 1 s, and no label" in capsys.readouterr().err
    finally:
        shutil.rmtree(broken)
    assert _versions(place) == before
    assert config.read_text() == text
    assert [path.name for path in config.parent.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_moved_is_refused(place, tmp_path):
    with pytest.raises(UsageError, match="model flow has no label 'nope'; it has canary, stable"):
        Rollout(parse_rollout(_flags(place, "promote", "rest", "--from_label", "nope")), say=print).run()
    flags = _flags(place, "promote", "rest")
    flags[flags.index("flow")] = "other"
    with pytest.raises(UsageError, match="has no model 'other'; it has flow"):
        Rollout(parse_rollout(flags), say=print)
    path = tmp_path / "models.config"
    path.write_text("model_config_list {")
    flags[2] = str(path)
    with pytest.raises(UsageError, match="is no ModelServerConfig"):
        Rollout(parse_rollout(flags), say=print)


def test_a_file_that_somebody_else_changed_is_left_alone(place):
    path = place[0] / "serving" / "models.config"
    running = Rollout(parse_rollout(_flags(place, "rollback", "rest", "--version", 1)), say=lambda _: None)
    text = path.read_text()
    path.write_text(text.replace('base_path: "', 'base_path: "/elsewhere', 1))
    try:
        with pytest.raises(JobError, match="changed by somebody else"):
            running.run()
    finally:
        path.write_text(text)
