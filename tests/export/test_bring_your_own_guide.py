"""The files and commands of docs/bring_your_own.md, as they stand there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from export import read_contract

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "bring_your_own.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
FEW, FEW_IN_PYTHON = " --signatures log_prob", 'signatures=["log_prob"]'
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with the files of the guide, each named in its first line."""
    root = tmp_path_factory.mktemp("project")
    for language, block in BLOCKS:
        if language == "json":
            (root / "columns.json").write_text(block)
        if language == "python":  # the first command of the guide exports all signatures: once is enough
            lines = re.sub(r'"models/\w+", event', lambda found: found[0].replace(" ", f" {FEW_IN_PYTHON}, "), block)
            (root / block.splitlines()[0].removeprefix("# ")).write_text(lines)
    return root


def run(place, command):
    program, *words = shlex.split(command)
    assert program in ("maf-serving", "python")
    if program == "maf-serving":
        words = ["-m", "maf_serving", *words]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *words], cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def test_the_guide_has_files_and_commands(place):
    assert sorted(path.name for path in place.iterdir()) == [
        "columns.json",
        "in_python.py",
        "keras_prices.py",
        "keras_train.py",
        "prices.py",
        "train.py",
        "with_categories.py",
    ]
    assert len(COMMANDS) == 5


@pytest.mark.slow
@pytest.mark.parametrize(("first", "base"), [(0, "prices"), (2, "keras_prices")])
def test_a_builder_and_a_checkpoint_become_a_version(place, first, base):
    run(place, COMMANDS[first])
    printed = run(place, COMMANDS[first + 1] + (FEW if first else ""))
    assert printed.splitlines()[-1] == f"version: models/{base}/1"
    contract = read_contract(place / "models" / base / "1")
    assert contract.event_columns == ("price", "volume")
    assert contract.conditional_columns == ("season",)


@pytest.mark.slow
def test_the_lines_of_python_export(place):
    assert run(place, "python in_python.py").splitlines()[-1] == "models/in_python/1"


@pytest.mark.slow
def test_the_lines_with_categories_export_what_the_table_says(place):
    assert run(place, "python with_categories.py").splitlines()[-1] == "models/with_categories/1"
    contract = read_contract(place / "models" / "with_categories" / "1")
    named = [name for name in contract.conditional_columns if f"`{name}`" in GUIDE]
    assert named == list(contract.conditional_columns)
    printed = run(place, COMMANDS[4] + FEW)
    assert printed.splitlines()[-1] == "version: models/from_checkpoint/1"
    assert read_contract(place / "models" / "from_checkpoint" / "1").condition_columns == contract.condition_columns


@pytest.mark.slow
def test_the_example_is_exported_from_its_checkpoint(tmp_path):
    import tf_keras  # noqa: PLC0415

    from examples import bring_your_own  # noqa: PLC0415
    from export import CheckpointSource, ExportOptions, export_model  # noqa: PLC0415
    from maf_serving.columns import as_condition_columns  # noqa: PLC0415

    tf_keras.utils.set_random_seed(0)  # 150 steps from the worst weights do not get that far
    distribution = bring_your_own.build()
    nll = bring_your_own.train(distribution, steps=150)
    assert nll < 2.6  # the entropy of the rows is log(2 pi e) + log(1 / 2) = 2.14
    import tensorflow as tf  # noqa: PLC0415

    tf.train.Checkpoint(model=distribution).save(str(tmp_path / "ckpt" / "checkpoint"))
    source = CheckpointSource(
        builder="examples.bring_your_own:build",
        checkpoint=tmp_path / "ckpt",
        event_columns=("x0", "x1"),
        condition_columns=as_condition_columns(["c0"]),
    )
    exported = export_model(source.load(), tmp_path / "models", ExportOptions(signatures=("log_prob",)))
    x, c = bring_your_own.make_rows(200, seed=9)
    served = tf.saved_model.load(str(exported.version_dir)).signatures["log_prob"]
    found = served(x=tf.constant(x), conditional_input=tf.constant(c))["log_prob"].numpy()
    assert found == pytest.approx(bring_your_own.log_prob(distribution, x, c).numpy(), abs=1e-4)
