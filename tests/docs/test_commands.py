"""Every command of README and docs: those that need a cluster or a cloud are read by the parsers of the commands."""

from __future__ import annotations

import functools
import importlib
import json
import re
import subprocess
import sys

import pytest

from beam_jobs.runner.options import parse_beam_flags
from maf_serving.cli import COMMANDS
from tests.docs import commands
from tests.docs.commands import PAGES, ROOT, in_blocks, in_sentences, words

CONTRACT = {
    "event_columns": ["x0", "x1"],
    "conditional_columns": ["c0"],
    "dtype": "float32",
    "signatures": {},
    "toolkit_version": "1",
    "tensorflow_version": "1",
}
PARSERS = {
    "maf": ("maf.arguments", "parse_training"),
    "maf.report": ("maf.report.options", "parse_options"),
    "maf.search": ("maf.search.arguments", "parse_search"),
    "serving_config": ("serving_config.options", "parse_config"),
    "serving_config.serve": ("serving_config.serve_options", "parse_serve_flags"),
    "serving_config.client": ("serving_config.client.options", "parse_call"),
    "serving_config.rollout": ("serving_config.labels.options", "parse_rollout"),
    "serving_config.tune": ("serving_config.tuning.options", "parse_tune"),
    "beam_jobs.score": ("beam_jobs.options.flags", "parse_score_flags"),
    "beam_jobs.sample": ("beam_jobs.options.flags", "parse_sample_flags"),
    "beam_jobs.summarize": ("beam_jobs.options.flags", "parse_summarize_flags"),
    "beam_jobs.evaluate": ("beam_jobs.options.flags", "parse_evaluate_flags"),
    "beam_jobs.drift": ("beam_jobs.options.judging", "parse_drift_flags"),
    "beam_jobs.compare": ("beam_jobs.options.judging", "parse_compare_flags"),
}
ABOUT = {page.name: [*in_blocks(page)] for page in PAGES}
OURS = sorted({command for found in ABOUT.values() for command in found if command.startswith(commands.OURS)})
OTHERS = sorted({command for found in ABOUT.values() for command in found} - set(OURS))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with the models and files that commands name, as far as their parsers look."""
    for name in ("demo", "sales", "prices"):
        version = tmp_path / "models" / name / "1"
        (version / "assets.extra").mkdir(parents=True)
        (version / "saved_model.pb").touch()
        (version / "assets.extra" / "contract.json").write_text(json.dumps(CONTRACT))
    (tmp_path / "serving" / "kubernetes").mkdir(parents=True)
    (tmp_path / "serving" / "models.config").write_text("model_config_list {}")
    (tmp_path / "serving" / "kubernetes" / "config_map.yaml").write_text("kind: ConfigMap")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def module_and_flags(command):
    """What `python -m` would be given."""
    program, name, *flags = words(command)
    if program == "maf-serving":
        return (COMMANDS[name][0].removesuffix(".__main__"), flags) if name in COMMANDS else ("maf_serving", [name])
    return flags[0], flags[1:]


def test_there_are_commands():
    assert len(OURS) > 20
    modules = {module_and_flags(command)[0] for command in OURS}
    assert modules >= {"maf", "export", *PARSERS} - {"maf.search"}
    assert sum(command.startswith("maf-serving ") for command in OURS) > 20


@pytest.mark.parametrize("command", OURS)
def test_a_command_is_understood(command, place):
    module, flags = module_and_flags(command)
    if module in PARSERS:
        home, name = PARSERS[module]
        rest = getattr(importlib.import_module(home), name)(flags)
        if module.startswith("beam_jobs."):
            parse_beam_flags(rest[1])
        return
    if module in ("venv", "maf_serving"):
        return
    assert module in {"export", "export.verify"}
    parser = importlib.import_module("export.__main__" if module == "export" else module)._parser()
    parser.parse_args(flags)


@functools.cache
def help_of(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_exist(page):
    for command in in_sentences(page):
        if "…" in command or "apache_beam" in command:
            continue
        module, flags = module_and_flags(command)
        for flag in flags:
            if flag.startswith("--") and flag != "--help":
                assert flag.partition("=")[0] in help_of(module), (page.name, command)


def known_flags():
    """Flags that somebody understands: our commands, Beam, TensorFlow Serving, pip and Docker."""
    sources = [
        path
        for name in ("maf", "export", "beam_jobs", "serving_config", "maf_serving")
        for path in (ROOT / name).rglob("*.py")
    ]
    text = "".join(path.read_text() for path in sources)
    ours = set(re.findall(r"[\"'](?:--)?([a-z][a-z_]+)[\"']", text)) | set(re.findall(r"--([a-z][a-z_]+)", text))
    ours |= set(re.findall(r"\b([a-z][a-z_]+)\b(?=: )", text)) | {f"cluster_{name}" for name in ours}
    from apache_beam.options.pipeline_options import PipelineOptions  # noqa: PLC0415

    return ours | set(PipelineOptions([]).get_all_options())


def test_every_flag_that_a_page_names_exists():
    known = known_flags()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for flag in set(re.findall(r"`--([a-z]\w+)", text)):
            spelled = {flag, flag.removeprefix("no_")}
            assert spelled & known, f"{page.name}: --{flag}"


CHECKED_ELSEWHERE = {"python train.py", "python keras_train.py"}  # tests/export/test_bring_your_own_guide.py


@pytest.mark.parametrize("command", OTHERS)
def test_another_programs_command(command):
    program, *rest = words(command)
    if command in CHECKED_ELSEWHERE:
        return
    if program == "make":
        done = subprocess.run(["/usr/bin/make", "-n", *rest], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    elif program == "curl":
        assert rest[0].startswith("http://localhost:8501/v1/models/")
        if "-d" in rest:
            assert json.loads(rest[rest.index("-d") + 1])["instances"]
    elif command.startswith("docker build"):
        assert (ROOT / rest[rest.index("--file") + 1]).is_file()
    elif command.startswith(("kubectl apply -f serving/", "docker compose --project-directory serving")):
        generated = ROOT / "examples" / "serving" / "generated"
        path = rest[rest.index("-f") + 1].removeprefix("serving/") if program == "kubectl" else "docker-compose.yml"
        assert (generated / path).exists()
    elif program == "serving/serve.sh":
        assert (ROOT / "examples" / "serving" / "generated" / "serve.sh").is_file()
    elif program == "pip":
        extras = re.findall(r"\[(\w+)\]", rest[-1])
        project = (ROOT / "pyproject.toml").read_text()
        assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)
    else:
        assert command.startswith(("docker push", ".venv")), command
