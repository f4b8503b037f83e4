"""What a type checker sees of the installed packages: types, and no `Any`, of names that are imported lazily too."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.docs.commands import ROOT

SCRIPT = """
import beam_jobs
import export
import maf
import maf_serving.flags
import serving_config
from serving_config.client import Client

reveal_type(beam_jobs.score_table)
reveal_type(export.export_saved_model)
reveal_type(export.read_contract("m").event_columns)
reveal_type(maf.make_bijector_kwargs)
reveal_type(Client("m", grpc_target="h:1").sample)
reveal_type(serving_config.ServingSpec)
reveal_type(maf_serving.flags.names("a"))
"""
OF_OTHERS = """
[mypy]
ignore_missing_imports = True
follow_imports = silent
[mypy-tensorflow.*,tensorflow_probability.*,tf_keras.*,apache_beam.*,pyarrow.*,grpc.*,google.*,tqdm.*,urllib3.*,yaml.*]
follow_imports = skip
"""
PACKAGES = ("maf_serving", "maf", "export", "beam_jobs", "serving_config")


def test_a_script_of_a_user_is_checked_against_real_types(tmp_path):
    installed = tmp_path / "site-packages"
    installed.mkdir()
    for name in PACKAGES:
        assert (ROOT / name / "py.typed").is_file()
        (installed / name).symlink_to(ROOT / name)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "mypy.ini").write_text(OF_OTHERS)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-incremental", "script.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(installed), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(revealed) == SCRIPT.count("reveal_type"), done.stdout
    for each in revealed:
        assert each != "Any"
        assert "-> Any" not in each
    assert revealed[2] == revealed[-1]
    assert re.fullmatch(r"(builtins\.)?tuple\[(builtins\.)?str, \.\.\.\]", revealed[-1])
