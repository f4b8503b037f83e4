"""`python -m beam_jobs.score` as a user meets it, and what importing loads."""

from __future__ import annotations

import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam_jobs
from tests.forked import run_python
from tests.waiting import SOON, until


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_command_scores_and_prints_the_counts(model_base, write_parquet, tmp_path):
    path = write_parquet("a.parquet", {"x0": [1.0, None], "x1": [1.0, 1.0], "c0": [1.0, 1.0]})
    output = tmp_path / "scores"
    done = run("-m", "beam_jobs.score", f"--model={model_base}", f"--input={path}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "rows read                2" in done.stdout
    assert "rows rejected            1  (1 null)" in done.stdout
    assert str(output) in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last == f"next          see {output}/_rejected-00000-of-00001.parquet: why rows were rejected"
    assert (output / "_summary.json").is_file()


def test_usage_errors_are_one_line_and_status_2(model_base, write_parquet, tmp_path):
    path = write_parquet("a.parquet", {"x0": [1.0], "x1": [1.0]})
    done = run_python("-m", "beam_jobs.score", f"--model={model_base}", f"--input={path}", f"--output={tmp_path / 'o'}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (f"error: input column(s) c0 not in {path}; it has: x0, x1; the model expects: x0, x1, c0\n")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.parquet"]


def test_a_failed_job_is_one_line_and_status_1(model_base, make_columns, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(make_columns(1_000, 1)), path, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[1_000] ^= 0xFF
    path.write_bytes(content)
    done = run_python("-m", "beam_jobs.score", f"--model={model_base}", f"--input={path}", f"--output={tmp_path / 'o'}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the job failed: {path} cannot be read from row 0: ")
    assert done.stderr.count("\n") == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.parquet"]


@pytest.mark.parametrize(("number", "with_tensorflow"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupted_job_leaves_nothing(
    number, with_tensorflow, scored_elsewhere, model_base, write_parquet, make_columns, tmp_path
):
    path = write_parquet("a.parquet", make_columns(1_000_000, 1), row_group_size=100_000)
    output = tmp_path / "scores"
    command = [sys.executable, "-m", "beam_jobs.score", f"--model={model_base}", f"--input={path}"]
    # One row per batch: the job would take minutes.
    command += [f"--output={output}", "--batch_size=1", *([] if with_tensorflow else scored_elsewhere)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: list(tmp_path.glob("scores.staging-*/scored-*")), of=process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=SOON)
    assert process.returncode == 128 + number
    assert stderr == f"\nerror: interrupted by {number.name}; nothing was written\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.parquet"]


@pytest.mark.parametrize("job", ["score", "sample", "summarize", "evaluate"])
def test_help_and_misspelt_flags_load_no_heavy_module(job):
    for arguments, status in ((["--help"], 0), (["--model=m", "--input=i", "--ouput=o"], 2)):
        code = (
            f"import sys; from beam_jobs.{job} import main\n"
            f"try: status = main({arguments!r})\n"
            "except SystemExit as end: status = end.code\n"
            "print(status, sorted({'apache_beam', 'pyarrow', 'tensorflow', 'numpy'} & set(sys.modules)))"
        )
        assert run("-c", code).stdout.splitlines()[-1] == f"{status or 0} []"


def test_importing_the_package_loads_no_heavy_module():
    code = "import sys, beam_jobs; print(sorted({'apache_beam', 'pyarrow', 'tensorflow', 'numpy'} & set(sys.modules)))"
    assert run("-c", code).stdout == "[]\n"


def test_a_worker_never_loads_model_code(model_base):
    code = (
        "import sys; from beam_jobs.model.saved_model import SavedModelHandler\n"
        "assert 'tensorflow' not in sys.modules\n"
        f"SavedModelHandler({str(model_base / '3')!r}, signature_name='log_prob', threads=1).load_model()\n"
        "print(sorted({'tensorflow_probability', 'tf_keras', 'maf', 'export.export_saved_model'} & set(sys.modules)))"
    )
    assert run("-c", code).stdout == "[]\n"


def test_every_public_name_resolves():
    for name in beam_jobs.__all__:
        assert getattr(beam_jobs, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = beam_jobs.nothing


def test_samples_and_a_report_from_the_command_line(model_base, write_parquet, make_columns, tmp_path):
    path = write_parquet("a.parquet", make_columns(50, 1))
    common = [f"--model={model_base}", f"--input={path}"]
    done = run_python("-m", "beam_jobs.sample", *common, f"--output={tmp_path / 's'}", "--num_samples=4", "--seed=1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "draws written          200" in done.stdout
    done = run_python("-m", "beam_jobs.evaluate", *common, f"--output={tmp_path / 'e'}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "mean NLL" in done.stdout
    assert "report.html, _summary.json" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("/report.html in a browser")
