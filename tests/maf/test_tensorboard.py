import pytest
import tensorflow as tf
from tensorflow.core.util.event_pb2 import Event

from maf.observers import TensorBoard


def read_scalars(directory):
    """`(step, name, value)` of every scalar, as the scalars plugin finds them."""
    found = []
    for file in sorted(directory.iterdir()):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            event = Event.FromString(record)
            found += [
                (event.step, value.tag, tf.make_ndarray(value.tensor).item())
                for value in event.summary.value
                if value.metadata.plugin_data.plugin_name == "scalars"
            ]
    return found


def test_scalars_are_appended_by_step_and_by_later_writers(tmp_path):
    for step in (1, 2):  # a resumed run opens a second file
        with TensorBoard(tmp_path) as board:
            board.write(step, {"nll/training": 1.5 * step, "learning_rate": 0.25})
    assert read_scalars(tmp_path) == [
        (1, "nll/training", 1.5),
        (1, "learning_rate", 0.25),
        (2, "nll/training", 3.0),
        (2, "learning_rate", 0.25),
    ]


def test_what_was_written_is_there_before_the_writer_is_closed(tmp_path):
    with TensorBoard(tmp_path) as board:
        board.write(7, {"nll/validation": 2.0})
        assert read_scalars(tmp_path) == [(7, "nll/validation", 2.0)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_written_as_it_is(tmp_path, value):
    with TensorBoard(tmp_path) as board:
        board.write(1, {"nll/training": value})
    assert str(read_scalars(tmp_path)[0][2]) == str(value)


def test_what_cannot_be_written_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file/events cannot be written: "), TensorBoard(tmp_path / "file" / "events"):
        pass
