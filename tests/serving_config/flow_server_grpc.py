"""gRPC of the flow server, as far as the client uses it."""

import grpc

from maf_serving.messages import message_class
from maf_serving.tensor_proto import from_tensor_proto, to_tensor_proto
from tests.serving_config.flow_server_signatures import SIGNATURES


def services(server):  # noqa: C901  # the whole of gRPC, as the client uses it
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
