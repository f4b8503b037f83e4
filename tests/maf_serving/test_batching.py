"""`batching_params.pbtxt` as TF Serving reads it."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from maf_serving.batching import BatchingParameters, read_batching_parameters
from maf_serving.errors import UsageError
from maf_serving.messages import message_class

ALL = BatchingParameters(
    max_batch_size=8,
    batch_timeout_micros=0,
    num_batch_threads=2,
    max_enqueued_batches=100,
    allowed_batch_sizes=(2, 4, 8),
)


def test_the_text_of_all_parameters():
    """Field by field in the form of the file with which a real server was recorded; a timeout of 0 is a choice."""
    expected = """
max_batch_size { value: 8 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 2 }
allowed_batch_sizes: 2
allowed_batch_sizes: 4
allowed_batch_sizes: 8
"""
    message = text_format.Parse(ALL.to_text(), message_class("BatchingParameters")())
    assert message == text_format.Parse(expected, message_class("BatchingParameters")())
    assert message.HasField("batch_timeout_micros")
    assert {field.name: field.number for field, _ in message.ListFields()} == {
        "max_batch_size": 1,
        "batch_timeout_micros": 2,
        "max_enqueued_batches": 3,
        "num_batch_threads": 4,
        "allowed_batch_sizes": 6,
    }
    assert message.max_batch_size.DESCRIPTOR.full_name == "google.protobuf.Int64Value"


def test_what_is_left_to_tf_serving_is_not_written():
    message = text_format.Parse(BatchingParameters().to_text(), message_class("BatchingParameters")())
    assert [field.name for field, _ in message.ListFields()] == ["max_batch_size"]


@pytest.mark.parametrize(
    "parameters",
    [
        ALL,
        BatchingParameters(),
        BatchingParameters(max_batch_size=100, enable_large_batch_splitting=True),
        BatchingParameters(enable_large_batch_splitting=True, max_execution_batch_size=4, allowed_batch_sizes=(2, 4)),
    ],
)
def test_what_is_written_is_read(parameters, tmp_path):
    (tmp_path / "batching.txt").write_text(parameters.to_text())
    assert read_batching_parameters(tmp_path / "batching.txt") == parameters


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "allowed_batch_sizes is 4 and max_batch_size is 8; the"),
        ("max_batch_sise { value: 8 }", "is no BatchingParameters in protobuf's text format"),
        ("num_batch_threads { value: 0 }", "num_batch_threads is 0; expected an integer of at least 1"),
    ],
)
def test_a_file_that_makes_no_sense(text, complaint, tmp_path):
    (tmp_path / "batching.txt").write_text(text)
    with pytest.raises(UsageError, match=complaint):
        read_batching_parameters(tmp_path / "batching.txt")


def test_it_is_one_class_everywhere():
    import export  # noqa: PLC0415
    import serving_config  # noqa: PLC0415

    assert export.BatchingParameters is serving_config.BatchingParameters is BatchingParameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size is 0; expected an integer of at least 1"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros is -1; expected an integer of at least 0"),
        ({"num_batch_threads": 0}, "num_batch_threads is 0"),
        ({"max_enqueued_batches": 2**63}, "max_enqueued_batches is 9223372036854775808"),
        ({"max_batch_size": 8, "allowed_batch_sizes": (4, 2, 8)}, "is 4, 2, 8; expected increasing"),
        ({"max_batch_size": 8, "allowed_batch_sizes": (0, 8)}, "is 0, 8; expected increasing"),
        ({"max_batch_size": 8, "allowed_batch_sizes": (2, 4)}, "is 2, 4 and max_batch_size is 8; the last allowed"),
        ({"allowed_batch_sizes": (2, 4)}, "is 2, 4 and max_batch_size is 1000"),
        ({"max_execution_batch_size": 4}, "no effect without enable_large_batch_splitting"),
        (
            {"enable_large_batch_splitting": True, "max_execution_batch_size": 1001},
            "expected no more than max_batch_size",
        ),
        (
            {"enable_large_batch_splitting": True, "max_execution_batch_size": 4, "allowed_batch_sizes": (8, 1000)},
            "max_execution_batch_size is 4; the last allowed",
        ),
    ],
)
def test_refused(options, message):
    with pytest.raises(UsageError, match=message) as caught:
        BatchingParameters(**options)
    assert "\n" not in str(caught.value)
