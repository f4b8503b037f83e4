"""What `tests.forked` imports before it forks: other people's packages, and no more of ours than that takes."""

import logging
import os

from maf_serving.quiet_tensorflow import LEVEL_VARIABLE, NOTHING, import_with_probability

os.environ[LEVEL_VARIABLE] = NOTHING
import_with_probability()
root = logging.getLogger()
root.addHandler(logging.NullHandler())
import apache_beam  # noqa: E402, F401  # it logs what it would like to have

root.handlers.clear()  # as in an interpreter that has logged nothing yet
