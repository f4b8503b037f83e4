import re

import pytest
from google.protobuf import text_format

from maf_serving.messages import message_class
from serving_config import UsageError
from serving_config.tune import main
from serving_config.tuning.options import parse_tune
from tests.serving_config.served_flow import write_flow


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("tuned")
    write_flow(base / "1", 1.0)
    return base


def _flags(base, *more):
    return ["--model", str(base), "--cores", "1", "--seconds", "0.02", "--batch_sizes", "1,4", *map(str, more)]


def test_the_command_prints_its_table_and_writes_what_a_server_reads(base, tmp_path, capsys):
    output = tmp_path / "batching_parameters.txt"
    assert main(_flags(base, "--latency_ms", 5000, "--output", output)) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if re.fullmatch(r"[\d., ]+", line)]
    assert [(row[0], row[1], row[2]) for row in rows] == [("1", "1", "1"), ("1", "1", "4")]
    batching = text_format.Parse(output.read_text(), message_class("BatchingParameters")())
    assert batching.max_batch_size.value == batching.allowed_batch_sizes[-1]
    assert batching.num_batch_threads.value == 1
    assert main(_flags(base, "--output", output)) == 2
    assert "exists; name another file" in capsys.readouterr().err


def test_a_latency_that_cannot_be_kept_fails_and_writes_nothing(base, tmp_path, capsys):
    assert main(_flags(base, "--latency_ms", 0.0001, "--output", tmp_path / "o")) == 1
    assert "no batch keeps 0.0001 ms" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_signature_that_is_not_there_is_named_with_those_that_are(base, capsys):
    assert main(_flags(base, "--signature_name", "nope")) == 2
    assert "has no signature 'nope'; it has forward, inverse, log_prob, sample" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "m", "--latency_ms", "0"], "expected more than 0"),
        (["--model", "m", "--batch_sizes", "8,4"], "expected increasing"),
        (["--model", "m", "--batch_sizes", "0,4"], "expected increasing"),
        (["--model", "m", "--cores", "0"], "expected at least 1"),
        ([], "required: --model"),
    ],
)
def test_flags_that_make_no_sense_are_usage_errors(arguments, message):
    with pytest.raises(UsageError, match=message):
        parse_tune(arguments)


def test_threads_are_the_powers_of_two_and_the_cores():
    assert parse_tune(["--model", "m", "--cores", "6"]).thread_counts == (1, 2, 4, 6)
    assert parse_tune(["--model", "m", "--cores", "1"]).thread_counts == (1,)


def test_a_model_that_is_not_there_is_a_usage_error(tmp_path, capsys):
    assert main(["--model", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
