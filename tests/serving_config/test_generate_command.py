import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from serving_config import UsageError
from serving_config.generate import differing_files, write_files
from serving_config.options import parse_config
from tests.serving_config.test_model_directories import write_version

ROOT = Path(__file__).parents[2]


def _command(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "serving_config", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_checked_in_examples_are_what_is_written():
    run = _command("--spec", "examples/serving/spec.yaml", "--output", "examples/serving/generated", "--check")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("examples/serving/generated: all ")


def test_the_examples_hold_nothing_else():
    directory = ROOT / "examples" / "serving" / "generated"
    run = _command("--spec", "examples/serving/spec.yaml", "--output", "/nowhere/at/all", "--check")
    listed = run.stderr.split(" are not what would be written: ")[1].split("; run again")[0].split(", ")
    assert sorted(listed) == sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def test_a_version_is_served_alone(tmp_path):
    for version in (1, 3, 5):
        write_version(tmp_path / "demo", version)
    run = _command("--model", "demo/3", "--model_name", "demo", "--output", "serving", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0] == "demo: demo version(s) 3 (without a contract)"
    text = (tmp_path / "serving" / "models.config").read_text()
    assert f'base_path: "{tmp_path}/demo"' in text
    assert "specific {\n        versions: 3\n      }" in text
    both = ["--model", "demo/3", "--model_name", "demo", "--version_policy", "all", "--output", "serving"]
    run = _command(*both, "--overwrite", cwd=tmp_path)
    assert run.returncode == 2
    assert "--model demo/3 is one version, and --version_policy all came too; expected the directory" in run.stderr


def test_write_check_change_check_overwrite(tmp_path):
    write_version(tmp_path / "demo", 1)
    flags = ["--model_base", "demo", "--model_name", "demo", "--output", "serving"]
    run = _command(*flags, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0] == "demo: demo version(s) 1 (without a contract)"
    assert "  models.config" in run.stdout.splitlines()
    assert stat.S_IMODE((tmp_path / "serving/serve.sh").stat().st_mode) == 0o755
    assert _command(*flags, "--check", cwd=tmp_path).returncode == 0
    run = _command(*flags, cwd=tmp_path)
    assert run.returncode == 2
    assert "serving has models.config, monitoring.config, serve.sh and 9 more already" in run.stderr
    (tmp_path / "serving/monitoring.config").write_text("")
    (tmp_path / "serving/kserve/demo.yaml").unlink()
    run = _command(*flags, "--check", cwd=tmp_path)
    assert run.returncode == 1
    assert "2 of 12 files in serving are not what would be written: monitoring.config, kserve/demo.yaml" in run.stderr
    (tmp_path / "serving/mine.txt").write_text("mine")
    assert _command(*flags, "--overwrite", cwd=tmp_path).returncode == 0
    assert _command(*flags, "--check", cwd=tmp_path).returncode == 0
    assert (tmp_path / "serving/mine.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "serving"]


def test_keys_are_readable_by_their_owner_alone(tmp_path):
    write_files({"ssl.config": "key", "models.config": ""}, tmp_path / "out", existing="refuse")
    assert stat.S_IMODE((tmp_path / "out/ssl.config").stat().st_mode) == 0o600


def test_a_failure_on_the_way_leaves_nothing(tmp_path):
    files = {"a": "1", "a/b": "a file cannot be a directory"}
    with pytest.raises(Exception, match="cannot be written"):
        write_files(files, tmp_path / "out", existing="refuse")
    assert list(tmp_path.iterdir()) == []
    assert differing_files(files, tmp_path / "out") == ["a", "a/b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_base", "m", "--output", "o"], "--model came 1 and --model_name 0 times"),
        (["--model_base", "m", "--model_name", "m"], "required: --output"),
        (["--output", "o", "--modelname", "m"], "unknown argument '--modelname'"),
        (["--spec", "s.yaml", "--cores", "2", "--output", "o"], "--cores belongs into the file"),
        (
            ["--max_batch_size", "8", "--model_base", "m", "--model_name", "m", "--output", "o"],
            "without --enable_batching",
        ),
        (
            ["--version_labels", "stable", "--model_base", "m", "--model_name", "m", "--output", "o"],
            "stable=1,canary=2",
        ),
        (
            ["--version_policy", "all", *(2 * ["--model_base", "m", "--model_name", "m"]), "--output", "o"],
            "--version_policy with 2 models",
        ),
        (["--model_base", "", "--model_name", "m", "--output", "o"], "the base path of model m is empty"),
        (
            ["--ssl_server_key", "k", "--model_base", "m", "--model_name", "m", "--output", "o"],
            "one came; expected both",
        ),
    ],
)
def test_flags_that_make_no_sense_are_usage_errors(arguments, message):
    with pytest.raises(UsageError, match=message):
        parse_config(arguments)


def test_flags_become_a_spec():
    flags = (
        "--model_base gs://b/a --model_name a --model_base gs://b/c --model_name c --cores 8 --enable_batching "
        "--max_batch_size 16 --allowed_batch_sizes 4,16 --cluster_namespace ml --output out --overwrite"
    )
    options = parse_config(flags.split())
    assert (options.action, options.spec.cores, options.spec.cluster.namespace) == ("overwrite", 8, "ml")
    assert [model.name for model in options.spec.models] == ["a", "c"]
    assert options.spec.batching.allowed_batch_sizes == (4, 16)


def test_neither_help_nor_writing_loads_tensorflow(tmp_path):
    code = (
        "import sys; from serving_config.__main__ import main\n"
        "try:\n    status = main()\nexcept SystemExit as leave: status = leave.code\n"
        "assert status in (0, None), status\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "heavy = {'tensorflow', 'numpy', 'pyarrow', *FORBIDDEN} & loaded\n"
        "assert not heavy, heavy"
    )
    for arguments, forbidden in (
        (["--help"], ["google", "yaml"]),
        (["--model_base", "gs://b/m", "--model_name", "m", "--output", str(tmp_path / "out")], []),
    ):
        run = subprocess.run(
            [sys.executable, "-c", code.replace("*FORBIDDEN", f"*{forbidden}"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert run.returncode == 0, run.stderr
