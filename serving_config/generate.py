"""From options to files, and the lines that say what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving_config.configuration import build_files
from serving_config.errors import JobError, UsageError
from serving_config.model_directories import check_models
from serving_config.output_directory import differing_files, write_files
from serving_config.spec_file import read_spec

if TYPE_CHECKING:
    from serving_config.options import ConfigOptions
    from serving_config.spec import ServingSpec


def generate(options: ConfigOptions) -> str:
    """Writes or checks the files of a spec, and returns what to print.

    Raises:
      UsageError: the spec does not fit itself or the models, or the files are there already.
      JobError: a check found differences, or the disk failed.
    """
    spec = _spec(options)
    models = check_models(spec)
    files = build_files(spec)
    if options.action == "check":
        differing = differing_files(files, options.output)
        if differing:
            raise JobError(
                f"{len(differing)} of {len(files)} files in {options.output} are not what would be written: "
                f"{', '.join(differing)}; run again with --overwrite instead of --check"
            )
        return f"{options.output}: all {len(files)} files are as they would be written"
    write_files(files, options.output, existing="replace" if options.action == "overwrite" else "refuse")
    lines = [*models, f"{options.output}: {len(files)} files", *(f"  {path}" for path in files)]
    start = f"start it: {options.output}/serve.sh (tensorflow_model_server), or docker compose up in {options.output}"
    return "\n".join([*lines, start])


def _spec(options: ConfigOptions) -> ServingSpec:
    if options.spec is not None:
        return options.spec
    if options.spec_path is None:
        raise UsageError("there is neither a spec nor a file with one")
    return read_spec(options.spec_path)
