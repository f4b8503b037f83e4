import base64
import json

import numpy as np

from maf_serving.messages import message_class
from maf_serving.tensor_proto import from_tensor_proto, to_tensor_proto
from tests.forked import run_python

# Reads with TensorFlow Serving's own messages what stdin holds, and prints what it understood, written again.
ORIGINALS = """
import base64, json, sys
import numpy as np
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_management_pb2, predict_pb2
from tensorflow_serving.config import model_server_config_pb2
from tensorflow.core.example import example_pb2
homes = [example_pb2, get_model_metadata_pb2, get_model_status_pb2, model_management_pb2, predict_pb2]
answers = {}
for name, data in json.load(sys.stdin).items():
    kind = next(getattr(home, name) for home in homes if hasattr(home, name))
    message = kind.FromString(base64.b64decode(data))
    assert not list(message.ListFields()) == []
    answers[name] = [base64.b64encode(message.SerializeToString(deterministic=True)).decode(), str(message)]
    if name == "PredictRequest":
        answers["arrays"] = {k: make_ndarray(v).tolist() for k, v in message.inputs.items()}
response = predict_pb2.PredictResponse()
response.outputs["log_prob"].CopyFrom(make_tensor_proto(np.array([1.5, -2.0], np.float32)))
response.outputs["x"].CopyFrom(make_tensor_proto([[0.5, 0.5]], np.float64))
response.outputs["x"].ClearField("tensor_content")
response.outputs["x"].double_val.extend([0.5])
answers["response"] = base64.b64encode(response.SerializeToString()).decode()
print(json.dumps(answers))
"""


def _messages():
    spec = message_class("ModelSpec")(name="flow", version_label="stable", signature_name="log_prob")
    numbered = message_class("ModelSpec")(name="flow")
    numbered.version.value = 3
    predict = message_class("PredictRequest")(model_spec=spec, output_filter=["log_prob"])
    predict.inputs["x"].CopyFrom(to_tensor_proto(np.array([[0.5, np.inf]], np.float32)))
    predict.inputs["seed"].CopyFrom(to_tensor_proto(np.array([-(2**62)], np.int64)))
    status = message_class("GetModelStatusResponse")()
    status.model_version_status.add(version=3, state=50, status={"error_code": 5, "error_message": "gone"})
    metadata = message_class("GetModelMetadataRequest")(model_spec=numbered, metadata_field=["signature_def"])
    signatures = message_class("SignatureDefMap")()
    signatures.signature_def["log_prob"].inputs["x"].dtype = 1
    signatures.signature_def["log_prob"].inputs["x"].tensor_shape.dim.add(size=-1, name="rows")
    signatures.signature_def["log_prob"].method_name = "tensorflow/serving/predict"
    example = message_class("Example")()
    example.features.feature["price"].float_list.value.extend([0.5, 2.0])
    example.features.feature["season"].bytes_list.value.append(b"\xffsummer")
    example.features.feature["day"].int64_list.value.append(-1)
    config = b"\x0a\x0c\x0a\x0a\x0a\x01a\x12\x02/b\x22\x01t"
    return {
        "Example": example,
        "PredictRequest": predict,
        "GetModelStatusRequest": message_class("GetModelStatusRequest")(model_spec=numbered),
        "GetModelStatusResponse": status,
        "GetModelMetadataRequest": metadata,
        "SignatureDefMap": signatures,
        "ReloadConfigRequest": message_class("ReloadConfigRequest")(config=config),
    }


def test_the_bytes_are_those_of_the_original_messages():
    messages = _messages()
    given = {
        name: base64.b64encode(message.SerializeToString(deterministic=True)).decode()
        for name, message in messages.items()
    }
    run = run_python("-c", ORIGINALS, given=json.dumps(given))
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout.splitlines()[-1])
    for name, data in given.items():
        assert answers[name][0] == data, answers[name][1]
        assert "unknown" not in answers[name][1]
    assert answers["arrays"] == {"x": [[0.5, float("inf")]], "seed": [-(2**62)]}
    response = message_class("PredictResponse").FromString(base64.b64decode(answers["response"]))
    np.testing.assert_array_equal(from_tensor_proto(response.outputs["log_prob"]), np.array([1.5, -2.0], np.float32))
    np.testing.assert_array_equal(from_tensor_proto(response.outputs["x"]), [[0.5, 0.5]])


def test_what_a_real_server_answered_is_read(recordings):
    answers = {r["case"]: r for r in recordings if r["transport"] == "grpc" and r["server"] == "plain"}
    kinds = {"Predict": "PredictResponse", "GetModelStatus": "GetModelStatusResponse"}
    for case in ("ok", "sample_with_seed", "status"):
        response = message_class(kinds[answers[case]["rpc"]]).FromString(base64.b64decode(answers[case]["response"]))
        if case == "ok":
            values = from_tensor_proto(response.outputs["log_prob"])
            np.testing.assert_allclose(values, [-3.38042164, -5.25542164], rtol=1e-6)
        elif case == "sample_with_seed":
            assert from_tensor_proto(response.outputs["x"]).shape == (2, 2)
        else:
            assert [(each.version, each.state) for each in response.model_version_status] == [(2, 30), (1, 30)]
