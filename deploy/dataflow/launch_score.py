"""What the flex template starts: `maf-serving score`."""

import sys

from beam_jobs.score import main

if __name__ == "__main__":
    sys.exit(main())
