"""A small real server for the client's tests: a conditional Gaussian in closed form, over HTTP and gRPC.

x = c + z with c of one column, D = 2. It can be told to fail first, and remembers what it was asked.
"""

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np

from serving_config.client.messages import message_class
from serving_config.client.tensor_proto import from_tensor_proto, to_tensor_proto

F32 = {"dtype": 1, "name": "DT_FLOAT"}
I64 = {"dtype": 9, "name": "DT_INT64"}
X, C, SEED, LOG_PROB = (F32, (-1, 2)), (F32, (-1, 1)), (I64, (-1,)), (F32, (-1,))
SIGNATURES = {
    "log_prob": ({"x": X, "conditional_input": C}, {"log_prob": LOG_PROB}),
    "sample": ({"conditional_input": C}, {"x": X, "log_prob": LOG_PROB}),
    "sample_with_seed": ({"conditional_input": C, "seed": SEED}, {"x": X, "log_prob": LOG_PROB}),
    "inverse": ({"x": X, "conditional_input": C}, {"z": X, "log_prob": LOG_PROB}),
    "forward": ({"z": X, "conditional_input": C}, {"x": X}),
}


def log_prob(x, c):
    return (-0.5 * ((x - c) ** 2).sum(axis=1) - math.log(2 * math.pi)).astype(np.float32)


def draw(c, seed):
    z = np.stack([(seed % 1009) / 1009.0, (seed % 997) / 997.0], axis=1).astype(np.float32)
    return c + z


class FlowServer:
    def __init__(self, *, most_rows=10**9, tls=None):
        self.failures = []  # what to answer first: gRPC codes or HTTP statuses
        self.answers = []  # what to answer to GET first, with status 200
        self.requests = []  # (signature, rows)
        self.statuses = [(1, 30, ""), (2, 30, "")]
        self.models = {"flow"}
        self.configs = []  # serialized ModelServerConfigs that were pushed
        self.on_reload = lambda config: None
        self.most_rows = most_rows
        self.stuck = threading.Event()  # while it is cleared, no prediction is answered
        self.stuck.set()
        self.lock = threading.Lock()
        self.in_flight = self.most_in_flight = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        if tls is not None:
            self._http.socket = tls.context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self._pool = ThreadPoolExecutor(8)
        self._grpc = grpc.server(self._pool, options=[("grpc.max_receive_message_length", -1)])
        self._grpc.add_generic_rpc_handlers([_services(self)])
        if tls is None:
            port = self._grpc.add_insecure_port("127.0.0.1:0")
        else:
            port = self._grpc.add_secure_port("127.0.0.1:0", tls.credentials)
        self._grpc.start()
        self.grpc_target = f"localhost:{port}"
        self.rest_url = f"http{'s' if tls else ''}://localhost:{self._http.server_address[1]}"

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._grpc.stop(None).wait()
        self._pool.shutdown()

    def run(self, signature, inputs):
        rows = len(next(iter(inputs.values())))
        with self.lock:
            self.requests.append((signature, rows))
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.stuck.wait(30)
        try:
            if rows == 0:
                raise RuntimeError("a request without rows")
            if rows > self.most_rows:
                raise ValueError(f"Task size {rows} is larger than maximum input batch size {self.most_rows}")
            return self._outputs(signature, inputs)
        finally:
            with self.lock:
                self.in_flight -= 1

    def _outputs(self, signature, inputs):
        c = inputs["conditional_input"]
        if signature == "log_prob":
            return {"log_prob": log_prob(inputs["x"], c)}
        if signature == "inverse":
            return {"z": inputs["x"] - c, "log_prob": log_prob(inputs["x"], c)}
        if signature == "forward":
            return {"x": inputs["z"] + c}
        seed = inputs.get("seed", np.random.default_rng().integers(2**62, size=len(c)))
        x = draw(c, seed)
        return {"x": x, "log_prob": log_prob(x, c)}


def _handler(server):  # noqa: C901  # the whole of REST, as the client uses it
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def answer(self, status, body):
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self):
            name = self.path.split("/")[3]
            if server.failures:
                self.answer(server.failures.pop(0), '{"error": "told to fail"}')
            elif server.answers:
                self.answer(200, server.answers.pop(0))
            elif name not in server.models:
                self.answer(404, json.dumps({"error": f"Could not find any versions of model {name}"}))
            elif self.path.endswith("/metadata"):
                self.answer(200, json.dumps(_rest_metadata(name)))
            else:
                self.answer(200, json.dumps(_rest_status(server)))

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if server.failures:
                status = server.failures.pop(0)
                self.answer(status, '{"error": "told to fail"}' if status != 404 else "<HTML>Not Found</HTML>")
                return
            signature = body["signature_name"]
            dtypes = {"seed": np.int64}
            inputs = {k: np.array(v, dtypes.get(k, np.float32)) for k, v in body["inputs"].items()}
            try:
                outputs = {k: v.tolist() for k, v in server.run(signature, inputs).items()}
            except ValueError as error:
                self.answer(400, json.dumps({"error": str(error)}))
                return
            if len(outputs) == 1:
                (outputs,) = outputs.values()
            self.answer(200, json.dumps({"outputs": outputs}))

    return Handler


def _rest_metadata(name):
    def tensors(group):
        return {
            key: {
                "dtype": kind["name"],
                "tensor_shape": {"dim": [{"size": str(s), "name": ""} for s in shape], "unknown_rank": False},
                "name": f"{key}:0",
            }
            for key, (kind, shape) in group.items()
        }

    signatures = {
        key: {"inputs": tensors(inputs), "outputs": tensors(outputs), "method_name": "tensorflow/serving/predict"}
        for key, (inputs, outputs) in SIGNATURES.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": "2"},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _rest_status(server):
    names = {10: "START", 20: "LOADING", 30: "AVAILABLE", 50: "END"}
    return {
        "model_version_status": [
            {
                "version": str(version),
                "state": names[state],
                "status": {"error_code": "UNKNOWN" if message else "OK", "error_message": message},
            }
            for version, state, message in server.statuses
        ]
    }


def _services(server):  # noqa: C901  # the whole of gRPC, as the client uses it
    def handler(request, call):
        def behave(message, context):
            if server.failures:
                context.abort(server.failures.pop(0), "told to fail")
            if hasattr(message, "model_spec") and message.model_spec.name not in server.models:
                context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {message.model_spec.name}")
            try:
                return call(message)
            except ValueError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

        return grpc.unary_unary_rpc_method_handler(
            behave,
            request_deserializer=message_class(request).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def predict(message):
        inputs = {name: from_tensor_proto(tensor) for name, tensor in message.inputs.items()}
        response = message_class("PredictResponse")()
        for name, array in server.run(message.model_spec.signature_name, inputs).items():
            response.outputs[name].CopyFrom(as_values(array))  # as TensorFlow Serving answers by default
        return response

    def status(_message):
        response = message_class("GetModelStatusResponse")()
        for version, state, text in server.statuses:
            response.model_version_status.add(
                version=version, state=state, status={"error_code": 2 if text else 0, "error_message": text}
            )
        return response

    def metadata(message):
        response = message_class("GetModelMetadataResponse")()
        response.model_spec.name = message.model_spec.name
        response.model_spec.version.value = 2
        signatures = message_class("SignatureDefMap")()
        for key, groups in SIGNATURES.items():
            target = signatures.signature_def[key]
            for field, group in zip((target.inputs, target.outputs), groups, strict=True):
                for name, (kind, shape) in group.items():
                    field[name].dtype = kind["dtype"]
                    for size in shape:
                        field[name].tensor_shape.dim.add(size=size)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def reload(message):
        server.configs.append(message.config)
        server.on_reload(message.config)
        return message_class("ReloadConfigResponse")()

    class Router(grpc.GenericRpcHandler):
        methods = {  # noqa: RUF012
            "/tensorflow.serving.PredictionService/Predict": handler("PredictRequest", predict),
            "/tensorflow.serving.PredictionService/GetModelMetadata": handler("GetModelMetadataRequest", metadata),
            "/tensorflow.serving.ModelService/GetModelStatus": handler("GetModelStatusRequest", status),
            "/tensorflow.serving.ModelService/HandleReloadConfigRequest": handler("ReloadConfigRequest", reload),
        }

        def service(self, details):
            return self.methods.get(details.method)

    return Router()


def as_values(array):
    message = to_tensor_proto(array)
    field = {"float32": message.float_val, "int64": message.int64_val}[array.dtype.name]
    field.extend(array.reshape(-1).tolist())
    message.ClearField("tensor_content")
    return message
