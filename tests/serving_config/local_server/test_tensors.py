"""A `TensorProto` means to the local server what it means to TensorFlow, whose own parser is asked."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving_config.local_server import RequestError
from serving_config.local_server.predict import from_proto

FLOAT, TEXT = types_pb2.DT_FLOAT, types_pb2.DT_STRING


@pytest.mark.parametrize(
    ("dtype", "shape", "fields"),
    [
        (FLOAT, (2,), {}),
        (FLOAT, (), {}),
        (FLOAT, (0, 3), {}),
        (FLOAT, (2, 2), {"float_val": [1.0]}),
        (FLOAT, (3,), {"float_val": [1.0, 2.0]}),
        (FLOAT, (2,), {"float_val": [1.0, 2.0, 3.0]}),
        (FLOAT, (0,), {"float_val": [1.0]}),
        (FLOAT, (0,), {"tensor_content": b"abcd"}),
        (FLOAT, (2,), {"tensor_content": b"abcd"}),
        (FLOAT, (2,), {"int_val": [1, 2]}),
        (types_pb2.DT_BOOL, (2,), {}),
        (types_pb2.DT_HALF, (2,), {"half_val": [15360]}),
        (TEXT, (2,), {}),
        (TEXT, (2,), {"string_val": [b"a"]}),
        (TEXT, (2,), {"tensor_content": b"\x01\x02abc"}),
        (TEXT, (2,), {"tensor_content": b"\x01\x02ab"}),
        (TEXT, (1,), {"tensor_content": b"\xc8\x01" + 200 * b"x"}),
    ],
)
def test_as_tensorflow_reads_it(dtype, shape, fields):
    message = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    try:
        theirs = tf.io.parse_tensor(message.SerializeToString(), tf.as_dtype(dtype)).numpy()
    except tf.errors.InvalidArgumentError:
        with pytest.raises(RequestError, match="tensor parsing error: x"):
            from_proto("x", message)
        return
    ours = from_proto("x", message)
    assert ours.shape == shape
    np.testing.assert_array_equal(ours, theirs)
