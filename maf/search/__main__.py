"""`python -m maf.search`, `maf-serving search`: the best of many configurations in a time budget."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from maf.errors import SearchError
from maf.search.arguments import parse_search
from maf_serving.command import run_command, show
from maf_serving.quiet_tensorflow import import_with_probability


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a search that found nothing, 2 for usage."""
    return run_command(lambda: _search(arguments))


def _search(arguments: Sequence[str] | None) -> str:
    options = parse_search(arguments)
    if importlib.util.find_spec("optuna") is None:
        raise SearchError("a search needs Optuna, which is not installed; pip install 'maf-serving[search]'")
    import_with_probability()
    from maf.search.study import search  # noqa: PLC0415  # TensorFlow and Optuna take seconds to import

    return search(options, announce=show)


if __name__ == "__main__":
    sys.exit(main())
