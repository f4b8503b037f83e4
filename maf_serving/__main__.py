"""`python -m maf_serving`: see `maf_serving.cli`."""

from __future__ import annotations

import sys

from maf_serving.cli import main

if __name__ == "__main__":
    sys.exit(main())
