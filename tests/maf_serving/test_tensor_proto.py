"""Arrays as messages, both ways, and answers that are none."""

import subprocess
import sys

import numpy as np
import pytest

from maf_serving.errors import InputError, ResponseError
from maf_serving.messages import message_class
from maf_serving.tensor_proto import from_tensor_proto, to_tensor_proto

FIELDS = {
    "float32": (1, "float_val"),
    "float64": (2, "double_val"),
    "int32": (3, "int_val"),
    "int64": (9, "int64_val"),
    "bool": (10, "bool_val"),
}


def answer(dtype, shape, *values):
    number, field = FIELDS[dtype]
    message = message_class("TensorProto")(dtype=number)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    getattr(message, field).extend(values)
    return message


@pytest.mark.parametrize("dtype", FIELDS)
def test_arrays_survive_both_ways(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    back = from_tensor_proto(to_tensor_proto(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_big_endian_and_strided_arrays_are_sent_as_they_read():
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    np.testing.assert_array_equal(from_tensor_proto(to_tensor_proto(array)), array)


def test_a_scalar_and_no_rows_have_their_shapes():
    assert from_tensor_proto(to_tensor_proto(np.float32(3) * np.ones(()))).shape == ()
    assert from_tensor_proto(to_tensor_proto(np.zeros((0, 2)))).shape == (0, 2)
    assert from_tensor_proto(answer("float32", (0, 2))).shape == (0, 2)


@pytest.mark.parametrize("dtype", FIELDS)
def test_equal_values_at_the_end_may_be_left_out(dtype):
    expected = np.array([[1, 0], [0, 0]], dtype)
    np.testing.assert_array_equal(from_tensor_proto(answer(dtype, (2, 2), 1, 0)), expected)


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize(("shape", "values"), [((2,), ()), ((), ()), ((1,), (1, 1)), ((0,), (1,)), ((-1, -1), (1,))])
def test_an_answer_that_does_not_fill_its_shape_is_none(dtype, shape, values):
    """Zeros in place of values that did not come would pass for a log-density."""
    with pytest.raises(ResponseError, match=rf"answered {len(values)} values for a tensor of shape \["):
        from_tensor_proto(answer(dtype, shape, *values))


def test_content_that_lies_about_its_shape_is_refused():
    message = to_tensor_proto(np.zeros(3))
    message.tensor_shape.dim[0].size = 4
    with pytest.raises(ResponseError, match=r"3 values for a tensor of shape \[4\]"):
        from_tensor_proto(message)


def test_types_that_are_not_numbers():
    with pytest.raises(InputError, match="type str"):
        to_tensor_proto(np.array(["a"]))
    assert to_tensor_proto(np.array([b"a"], object)).string_val == [b"a"]
    with pytest.raises(ResponseError, match="TensorFlow's type 7; expected numbers"):
        from_tensor_proto(to_tensor_proto(np.array([b"a"], object)))


def test_the_ground_floor_of_the_wire_loads_nothing_heavy():
    modules = "messages, tensor_proto, predict_channel, model_spec, tls, row_limit, batching, codes"
    code = (
        f"import sys; from maf_serving import {modules}\n"
        "print(sorted({'tensorflow', 'apache_beam', 'grpc', 'google.protobuf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
