"""Writes the specification of the flex template that scores: `python deploy/dataflow/make_template.py --help`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from beam_jobs.options.flags import score_flags

METADATA = Path(__file__).parent / "score_metadata.json"


def make_template(image: str) -> dict[str, Any]:
    """The specification as `gcloud dataflow flex-template run --template_file_gcs_location` reads it.

    Raises:
      ValueError: a parameter of the metadata is no flag of `maf-serving score`.
    """
    metadata = json.loads(METADATA.read_text(encoding="utf-8"))
    flags = score_flags().flags()
    unknown = [each["name"] for each in metadata["parameters"] if f"--{each['name']}" not in flags]
    if unknown:
        raise ValueError(
            f"{METADATA.name} has the parameters {', '.join(unknown)}; expected flags of maf-serving score"
        )
    return {"image": image, "metadata": metadata, "sdkInfo": {"language": "PYTHON"}}


def main() -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(description="Writes the specification of the flex template that scores.")
    parser.add_argument("--image", required=True, metavar="IMAGE", help="built from deploy/dataflow/Dockerfile, pushed")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="JSON file to write")
    flags = parser.parse_args()
    try:
        text = json.dumps(make_template(flags.image), indent=2) + "\n"
        flags.output.parent.mkdir(parents=True, exist_ok=True)
        flags.output.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{flags.output}: image {flags.image}; copy it to a bucket, and run it from there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
