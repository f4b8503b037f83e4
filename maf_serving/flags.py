"""The command line of every command: errors of one line, what a misspelt flag was meant to be, lists with CSV quoting.

A list is written with commas, `--event price,volume`. A name that has a comma in it, or a space at its end, is put into
double quotes as in a CSV file, `--event '"price, net",volume'`; a double quote inside of those is doubled.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NoReturn

from maf_serving.errors import UsageError
from maf_serving.table_formats import CsvDialect

PROGRAM = "maf-serving"
OnOutOfRange = Literal["count", "name", "reject"]
"""What becomes of rows whose condition is nothing like what training saw: they are counted; a column says which of its
columns are; or they are rejected."""
_NEAR = 0.7  # similar enough to be what was meant, where nobody else takes flags
_NEAR_MISS = 0.85  # similar enough for a typing error, where another program takes the flags that are not ours
_QUOTED = r'"(?:[^"]|"")*"'
_ITEM = re.compile(rf'\s*({_QUOTED}|[^",][^,]*|)\s*(,|$)')
_PAIR = re.compile(rf'\s*({_QUOTED}|[^",=][^,=]*)\s*=\s*({_QUOTED}|[^",][^,]*)\s*(,|$)')


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` of a command: no abbreviations, old spellings, `UsageError` instead of leaving the process.

    parser = CommandParser("beam_jobs.score", "Writes log p(x | c) for every row.")
    parser.add_argument("--input", type=names, required=True, metavar="FILES")
    parser.add_old_names({"--data": "--input"})
    parser.parse_args(["--data", "a.csv,b.csv"]).input  # ("a.csv", "b.csv")
    """

    def __init__(self, module: str, description: str, **options: Any) -> None:
        """See the class.

        Args:
          module: that `python -m` runs; what help and errors call the command, unless it is a part of `maf-serving`.
          description: of the help, as it stands but for `%(prog)s`, which is how the command was called.
          **options: others of `argparse.ArgumentParser`.
        """
        super().__init__(
            prog=called_as(module),
            description=description,
            allow_abbrev=False,
            formatter_class=_Formatter,
            **options,
        )
        self._old_names: dict[str, str] = {}

    def add_old_names(self, current: Mapping[str, str]) -> None:
        """Flags as they were called once, and what they are called now; help does not list them."""
        self._old_names.update(current)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The values of the flags. Raises `UsageError` for one that is unknown, missing, or has no valid value."""
        arguments = self._current(args)
        self._refuse_unknown(arguments)
        known, extra = super().parse_known_args(arguments, namespace)
        if extra:
            raise self.unexpected(extra[0])
        return known

    def parse_own_args(self, args: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
        """The values of our flags, and what is left for another program. Raises `UsageError`, for near misses too."""
        arguments = self._current(args)
        for argument in arguments:
            if (meant := self._meant(argument, _NEAR_MISS)) is not None:
                raise UsageError(f"unknown argument {argument!r}; did you mean {meant}?")
        return super().parse_known_args(arguments)

    def flags(self) -> list[str]:
        """The names of the flags that help lists, with their dashes."""
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        return [name for action in shown for name in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Raises `UsageError`, in place of argparse's two lines and exit."""
        raise UsageError(f"{message} (see {self.prog} --help)")

    def unexpected(self, argument: str) -> UsageError:
        """The error that an argument is which belongs to nothing."""
        if not argument.startswith("-"):
            expected = f"expected flags and their values: put a glob in quotes (see {self.prog} --help)"
            return UsageError(f"unexpected argument {argument!r}; {expected}")
        meant = self._meant(argument, _NEAR)
        hint = f"did you mean {meant}?" if meant else f"see {self.prog} --help"
        return UsageError(f"unknown argument {argument!r}; {hint}")

    def _current(self, args: Sequence[str] | None) -> list[str]:
        """The arguments with flags as they are called now."""
        current = []
        for argument in sys.argv[1:] if args is None else args:
            name, equals, value = argument.partition("=")
            current.append(self._old_names.get(name, name) + equals + value)
        return current

    def _refuse_unknown(self, arguments: Iterable[str]) -> None:
        """Before argparse does, which would speak of a required flag as missing when it is misspelt."""
        for argument in arguments:
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in {"--", *self._option_string_actions}:
                raise self.unexpected(argument)

    def _meant(self, argument: str, cutoff: float) -> str | None:
        name = argument.partition("=")[0]
        if not name.startswith("--") or name in self._option_string_actions:
            return None
        close = difflib.get_close_matches(name, [*self.flags(), *self._old_names], n=1, cutoff=cutoff)
        return self._old_names.get(close[0], close[0]) if close else None


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions stand as they were written, and a flag of several values says so by its metavar alone."""

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == "+" and isinstance(action.metavar, str):
            return action.metavar
        return super()._format_args(action, default_metavar)


class Extend(argparse.Action):
    """Collects lists: of a flag that is given several times, and of one with several values."""

    def __call__(self, _parser: Any, namespace: Any, values: Any, _option: str | None = None) -> None:
        """Adds the values to those there are."""
        lists = values if self.nargs else [values]
        given = getattr(namespace, self.dest, None) or ()  # the default is an empty list, or none
        setattr(namespace, self.dest, given + tuple(name for each in lists for name in each))


def add_csv_flags(parser: Any) -> None:
    """Adds the flags that `take_dialect` reads, to a parser or a group of one."""
    for field in dataclasses.fields(CsvDialect):
        parser.add_argument(f"--csv_{field.name}", default=argparse.SUPPRESS, **field.metadata)


def take_dialect(values: dict[str, Any]) -> CsvDialect:
    """Removes the flags of CSV files from what was parsed; how the files are written. Raises `UsageError`."""
    names = [field.name for field in dataclasses.fields(CsvDialect) if f"csv_{field.name}" in values]
    return CsvDialect(**{name: values.pop(f"csv_{name}") for name in names})


def add_out_of_range_flags(parser: Any) -> None:
    """Adds the flags that say what becomes of rows out of the range of training, as `on_out_of_range`."""
    outside = parser.add_mutually_exclusive_group()
    add = functools.partial(outside.add_argument, dest="on_out_of_range", action="store_const", default="count")
    add(
        "--out_of_range",
        const="name",
        help="add a column out_of_range: in which columns of the condition the row is nothing like what training saw, "
        "comma separated, empty for none (default: such rows are counted)",
    )
    add("--reject_out_of_range", const="reject", help="reject rows that are so in one")


def called_as(module: str) -> str:
    """What the user has called a command: `maf-serving score`, or `python -m` and the module."""
    program = sys.argv[0] if sys.argv else ""
    return program if program.startswith(f"{PROGRAM} ") else f"python -m {module}"


def names(text: str) -> tuple[str, ...]:
    """A list of names, see the module; an empty text is an empty list."""
    found, place = [], 0
    while text.strip() and place <= len(text):
        item = _ITEM.match(text, place)
        if item is None:
            raise argparse.ArgumentTypeError(
                f"{text!r} has a quote where none can be; expected names separated by commas, those with a comma in "
                "them in double quotes"
            )
        if not item[1]:
            raise argparse.ArgumentTypeError(f"{text!r} has an empty name; expected names separated by commas")
        found.append(_unquoted(item[1]))
        if not item[2]:
            break
        place = item.end()
    return tuple(found)


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """A list of `name=other`; a name that has `=` or a comma in it is put into double quotes."""
    found: list[tuple[str, str]] = []
    place = 0
    while text.strip() and place <= len(text):
        item = _PAIR.match(text, place)
        if item is None:
            raise argparse.ArgumentTypeError(f"{text!r} is no list of pairs; expected such as price=p,volume=v")
        found.append((_unquoted(item[1]), _unquoted(item[2])))
        if not item[3]:
            break
        place = item.end()
    return tuple(found)


def integers(text: str) -> tuple[int, ...]:
    """A list of integers; an empty text is an empty list."""
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of integers; expected such as 1,64") from None


def fractions(text: str) -> tuple[float, ...]:
    """A list of numbers; an empty text is an empty list."""
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers; expected such as 0.1,0.9") from None


def format_names(listed: Iterable[str]) -> str:
    """Names as `names` reads them: with quotes where they are needed."""
    return ",".join(_quoted(name) for name in listed)


def _unquoted(item: str) -> str:
    return item[1:-1].replace('""', '"') if item.startswith('"') else item.rstrip()


def _quoted(name: str) -> str:
    plain = name and name == name.strip() and "," not in name and not name.startswith('"')
    return name if plain else '"' + name.replace('"', '""') + '"'
