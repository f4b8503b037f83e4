"""Versions published and labels moved while clients ask: nobody is refused."""

from __future__ import annotations

import shutil

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving_config.errors import StartError
from serving_config.local_server.model_config import LoadPolicy, ModelConfig, parse_model_configs
from tests.serving_config.local_server.load import load
from tests.serving_config.local_server.support import predict_request


def models(base, **labels):
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(name="small", base_path=str(base), model_platform="tensorflow")
    model.model_version_policy.all.SetInParent()
    for label, version in labels.items():
        model.version_labels[label] = version
    return config


def test_new_versions_under_load(serve, base, publish):
    server = serve(ModelConfig(name="small", base_path=str(base)))
    with load(server) as found:
        for version in (2, 3, 4):
            publish(base, version)
            found.until(lambda: server.states().get(version) == "AVAILABLE")  # noqa: B023
            found.until(lambda: server.states().get(version - 1) == "END")  # noqa: B023
        shutil.rmtree(base / "4")
        found.until(lambda: server.states()[3] == "AVAILABLE")
    assert found.answers == {0.0, 1.0}
    assert found.count > 100


def test_labels_move_under_load(serve, base, publish):
    publish(base, 2)
    server = serve(*parse_model_configs(models(base, stable=1, canary=2)), load_policy=LoadPolicy(early_labels=True))
    with load(server, "/v1/models/small/labels/stable:predict", label="stable") as found:
        assert found.answers == {0.0}
        for version in (2, 1, 2):
            request = model_management_pb2.ReloadConfigRequest(config=models(base, stable=version, canary=2))
            response = server.models.HandleReloadConfigRequest(request)
            assert response.status.error_code == 0
            count = found.count
            found.until(lambda: found.count > count + 20)  # noqa: B023
    assert found.answers == {0.0, 1.0}
    answer = server.prediction.Predict(predict_request(label="stable"))
    assert answer.model_spec.version.value == 2


def test_a_label_that_is_too_early_is_refused_and_the_old_one_stays(serve, base):
    server = serve(*parse_model_configs(models(base, stable=1)), load_policy=LoadPolicy(early_labels=True))
    with pytest.raises(grpc.RpcError) as caught:
        server.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(config=models(base, stable=2)))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "version 2 of model small, which is not currently available" in caught.value.details()
    assert server.prediction.Predict(predict_request(label="stable")).model_spec.version.value == 1


def test_a_configuration_file_is_read_again(serve, base, tmp_path, publish):
    path = tmp_path / "models.config"
    first = models(base, stable=1)
    path.write_text(text_format.MessageToString(first))
    server = serve(
        *parse_model_configs(first),
        load_policy=LoadPolicy(early_labels=True),
        model_config_file=str(path),
        model_config_file_poll_wait_seconds=0.05,
    )
    with load(server, label="stable") as found:
        publish(base, 2)
        path.write_text("model_config_list {")
        found.until(lambda: any("is not applied" in line for line in server.lines))
        staged = tmp_path / "staged"
        staged.write_text(text_format.MessageToString(models(base, stable=2)))
        staged.rename(path)
        # The label may be read before the version is there: it is refused then, and tried again.
        found.until(lambda: 1.0 in found.answers and any("is applied" in line for line in server.lines))


def test_a_broken_version_leaves_the_old_one_serving(serve, base):
    server = serve(ModelConfig(name="small", base_path=str(base)), load_policy=LoadPolicy(retries=0))
    with load(server) as found:
        (base / "2" / "variables").mkdir(parents=True)
        found.until(lambda: server.states().get(2) == "END")
        (base / "3").mkdir()
        (base / "3" / "saved_model.pb").write_bytes(b"\xff\xff no graph")
        found.until(lambda: server.states().get(3) == "END")
    statuses = server.get("/v1/models/small").json["model_version_status"]
    assert [each["state"] for each in statuses] == ["END", "END", "AVAILABLE"]
    assert statuses[1]["status"]["error_code"] == "NOT_FOUND"
    assert "Could not find SavedModel" in statuses[1]["status"]["error_message"]
    assert statuses[0]["status"]["error_message"]


def test_two_models(serve, base, tmp_path, publish):
    other = tmp_path / "other"
    other.mkdir()
    publish(other, 4)
    server = serve(ModelConfig(name="small", base_path=str(base)), ModelConfig(name="other", base_path=str(other)))
    for model, offset in (("small", 1.0), ("other", 2.0)):
        answer = server.prediction.Predict(predict_request(model=model))
        assert answer.outputs["log_prob"].float_val == [offset - 1.0]
    assert server.states("other") == {4: "AVAILABLE"}


def test_a_model_that_does_not_load_keeps_the_server_from_starting(serve, base, tmp_path):
    (tmp_path / "broken" / "1").mkdir(parents=True)
    with pytest.raises(StartError, match=r"did not become available: {broken: version 1: Could not find SavedModel"):
        serve(
            ModelConfig(name="small", base_path=str(base)),
            ModelConfig(name="broken", base_path=str(tmp_path / "broken")),
        )
