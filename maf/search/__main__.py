"""`python -m maf.search`: the best of many configurations in a time budget."""

from __future__ import annotations

import importlib.util
import sys

from maf.errors import MafError, SearchError, TrainingError
from maf.quiet_tensorflow import import_quietly
from maf.search.arguments import parse_arguments
from maf.standard_output import show


def main() -> int:
    """Parses, searches, prints; 2 for what the user can mend, 1 for a search that found nothing or was interrupted."""
    try:
        arguments = parse_arguments()
        if importlib.util.find_spec("optuna") is None:
            raise SearchError("a search needs Optuna, which is not installed; pip install 'maf-serving[search]'")
        import_quietly()
        from maf.search.study import search  # noqa: PLC0415  # TensorFlow and Optuna take seconds to import

        report = search(arguments)
    except MafError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, TrainingError) else 2
    except OSError as error:  # a full disk, say
        print(f"error: {error}; continue with the same command", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; continue with the same command", file=sys.stderr)
        return 1
    return show(report)


if __name__ == "__main__":
    sys.exit(main())
