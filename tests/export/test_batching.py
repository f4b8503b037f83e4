"""`batching_params.pbtxt` as TF Serving reads it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from google.protobuf import text_format

from export.batching import BATCHING_PATH, BatchingParameters, message_class, write_batching
from export.errors import OptionError

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
    message = text_format.Parse(ALL.to_text(), message_class()())
    assert message == text_format.Parse(expected, message_class()())
    assert message.HasField("batch_timeout_micros")
    fields = {field.name: field.number for field in message.DESCRIPTOR.fields}
    assert fields == {
        "max_batch_size": 1,
        "batch_timeout_micros": 2,
        "max_enqueued_batches": 3,
        "num_batch_threads": 4,
        "allowed_batch_sizes": 6,
    }
    assert message.max_batch_size.DESCRIPTOR.full_name == "google.protobuf.Int64Value"


def test_what_is_left_to_tf_serving_is_not_written(tmp_path):
    message = text_format.Parse(BatchingParameters().to_text(), message_class()())
    assert [field.name for field, _ in message.ListFields()] == ["max_batch_size"]
    write_batching(tmp_path, None)
    assert not list(tmp_path.iterdir())
    write_batching(tmp_path, ALL)
    assert (tmp_path / BATCHING_PATH).read_text() == ALL.to_text()


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
    ],
)
def test_refused(options, message):
    with pytest.raises(OptionError, match=message) as caught:
        BatchingParameters(**options)
    assert "\n" not in str(caught.value)


def test_no_tensorflow_is_needed_to_refuse():
    code = "import sys, export.batching; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
