"""The command line that all commands share."""

from __future__ import annotations

import argparse

import pytest

from maf_serving.errors import UsageError
from maf_serving.flags import CommandParser, Extend, format_names, integers, names, pairs


def parser():
    made = CommandParser("a.module", "Does %(prog)s.")
    made.add_argument("--input", action=Extend, type=names, nargs="+", default=(), metavar="FILES")
    made.add_argument("--model", required=True, metavar="DIR")
    made.add_old_names({"--data": "--input"})
    return made


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("price,volume", ("price", "volume")),
        (" price , volume ", ("price", "volume")),
        ('"price, net",volume', ("price, net", "volume")),
        ('"a ""b"" "', ('a "b" ',)),
        ('5" pipe', ('5" pipe',)),
        ("", ()),
    ],
)
def test_lists_of_names(text, listed):
    assert names(text) == listed
    assert names(format_names(listed)) == listed


@pytest.mark.parametrize("text", ["a,,b", "a,", '"a', '"a"b', ",a"])
def test_a_list_that_is_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected names separated by commas"):
        names(text)


def test_pairs_and_integers():
    assert pairs('price=p,"a, b" = c=d, e="f,=g"') == (("price", "p"), ("a, b", "c=d"), ("e", "f,=g"))
    for text in ("price", "=p", "price=", "a=b,,c=d"):
        with pytest.raises(argparse.ArgumentTypeError, match="no list of pairs"):
            pairs(text)
    assert integers("1,64") == (1, 64)
    assert integers("") == ()
    with pytest.raises(argparse.ArgumentTypeError, match="no list of integers"):
        integers("1,x")


def test_files_by_commas_by_words_and_by_repetition():
    given = parser().parse_args(["--input", "a b.csv", '"c,d.csv",e.csv', "--data=f.csv", "--model", "m"])
    assert given.input == ("a b.csv", "c,d.csv", "e.csv", "f.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modle", "m"], "unknown argument '--modle'; did you mean --model?"),
        (["--modle=m"], "unknown argument '--modle=m'; did you mean --model?"),
        (["--model", "m", "--dat", "f"], "unknown argument '--dat'; did you mean --input?"),
        (["--model", "m", "--colour", "f"], "unknown argument '--colour'; see python -m a.module --help"),
        (["m"], "the following arguments are required: --model (see python -m a.module --help)"),
        (["--model", "m", "n"], "unexpected argument 'n'; expected flags and their values"),
        (["--model", "m", "--input", "a,,b"], "argument --input: 'a,,b' has an empty name"),
    ],
)
def test_errors_are_one_line(arguments, message):
    with pytest.raises(UsageError) as raised:
        parser().parse_args(arguments)
    assert str(raised.value).startswith(message)


def test_flags_of_another_program_pass():
    own, others = parser().parse_own_args(["--model", "m", "--runner", "FlinkRunner", "--colour=red"])
    assert (own.model, others) == ("m", ["--runner", "FlinkRunner", "--colour=red"])
    with pytest.raises(UsageError, match="did you mean --model"):
        parser().parse_own_args(["--modell", "m"])


def test_help_shows_the_name_that_was_called_and_no_old_one(monkeypatch, capsys):
    for called, shown in (("/bin/x.py", "python -m a.module"), ("maf-serving thing", "maf-serving thing")):
        monkeypatch.setattr("sys.argv", [called])
        with pytest.raises(SystemExit):
            parser().parse_args(["--help"])
        text = capsys.readouterr().out
        assert text.startswith(f"usage: {shown} [-h]")
        assert f"Does {shown}." in text
        assert "--data" not in text
