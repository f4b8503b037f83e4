"""A model server that does as it is told, in this process: no model, and no TensorFlow."""

from __future__ import annotations

import grpc
import numpy as np

from maf_serving.messages import message_class
from maf_serving.tensor_proto import to_tensor_proto


class Scripted(grpc.GenericRpcHandler):
    """A server that fails as often as told, then answers the row count it got, once for each row."""

    def __init__(self, *codes, most_rows=10**9):
        self.codes = list(codes)
        self.most_rows = most_rows
        self.rows = []

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, request, context):
        message = message_class("PredictRequest").FromString(request)
        rows = next(iter(message.inputs.values())).tensor_shape.dim[0].size
        self.rows.append(rows)
        if self.codes:
            context.abort(self.codes.pop(0), "not now")
        if rows > self.most_rows:
            refusal = f"Task size {rows} is larger than maximum input batch size {self.most_rows}"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, refusal)
        response = message_class("PredictResponse")()
        response.outputs["log_prob"].CopyFrom(to_tensor_proto(np.full(rows, rows, np.float32)))
        return response.SerializeToString()
