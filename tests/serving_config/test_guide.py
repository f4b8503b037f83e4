"""The commands of docs/serving.md, as they stand there but for the ports, on a small model."""

import json
import re
import shlex
import shutil
import sys
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export import Contract
from export.contract import CONTRACT_PATH
from serving_config.serve_options import parse_serve_flags
from serving_config.tuning.options import parse_tune
from tests.forked import STDOUT, Forked, run_python
from tests.serving_config.served_flow import ROOT, await_model, free_ports, stop, write_flow

GUIDE = ROOT / "docs" / "serving.md"


def commands(start):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    return [line for line in lines if line.startswith(start)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory as the guide has it, and a function that says a command with the ports of its server."""
    root = tmp_path_factory.mktemp("guide")
    contract = Contract(
        event_columns=("x0", "x1"),
        conditional_columns=("c0",),
        dtype="float32",
        signatures={},
        toolkit_version="1",
        tensorflow_version="1",
    )
    for version in (1, 2):
        write_flow(root / "models" / "demo" / str(version), float(version))
        path = root / "models" / "demo" / str(version) / CONTRACT_PATH
        path.parent.mkdir(exist_ok=True)
        path.write_text(contract.to_json())
    shutil.copytree(ROOT / "examples" / "serving", root / "examples" / "serving")
    pq.write_table(pa.table({name: np.zeros(5, np.float32) for name in ("x0", "x1", "c0")}), root / "rows.parquet")
    port, rest = map(str, free_ports(2))

    def run(command):
        words = shlex.split(command.replace("8500", port).replace("8501", rest))
        env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        return run_python("-m", "maf_serving", *words[1:], cwd=root, env=env, timeout=120)

    for command in commands("maf-serving config --"):
        done = run(command)
        assert done.returncode == 0, (command, done.stderr)
    (serve,) = commands("maf-serving serve --model_config_file")
    words = [sys.executable, "-m", "maf_serving", *shlex.split(serve)[1:]]
    words[words.index("5")] = "1"  # seconds between looks at models.config
    log = root / "server.log"
    with log.open("wb") as output:
        process = Forked(
            [*words, "--backend", "local", "--port", port, "--rest_api_port", rest],
            cwd=root,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=STDOUT,
        )
    try:
        await_model("demo", log, process, rest_url=f"http://localhost:{rest}")
        yield root, run, f"http://localhost:{rest}"
    finally:
        stop(process)


def test_the_client_commands_answer(place):
    root, run, _ = place
    found = [command for command in commands("maf-serving client") if "--model_name demo" in command]
    assert len(found) == 3  # those of a model that has quantiles are said in tests/end_to_end/test_same_answers.py
    for command in found:
        done = run(command)
        assert done.returncode == 0, (command, done.stderr)
    assert pq.read_table(root / "scores.parquet").num_rows == 5
    assert pq.read_table(root / "draws.parquet").num_rows == 50


def test_the_curl_commands_answer(place):
    status, predict = (shlex.split(command) for command in commands("curl "))
    _, _, rest_url = place
    for words in (status, predict):
        body = None
        if "-d" in words:  # this model has no default signature
            body = json.dumps(json.loads(words[words.index("-d") + 1]) | {"signature_name": "log_prob"}).encode()
        with urllib.request.urlopen(words[1].replace("http://localhost:8501", rest_url), body) as answer:  # noqa: S310
            assert "error" not in json.load(answer)


def test_the_label_goes_there_and_back(place):
    root, run, _ = place
    promote, rollback, on_kubernetes = commands("maf-serving rollout")
    manifest = root / "serving" / "kubernetes" / "config_map.yaml"
    before = manifest.read_text()
    told = [run(command) for command in (promote, on_kubernetes, rollback)]  # the second finds its label moved already
    assert [done.returncode for done in told] == [0, 0, 0], told
    assert manifest.read_text().count("value: 2") == before.count("value: 2") + 1
    assert [done.stdout.splitlines()[-1] for done in told] == [
        "label stable: version 2; the server answers for it",
        "label stable: version 2; the server answers for it",
        "label stable: version 1; the server answers for it",
    ]


def test_the_other_commands_have_flags_that_exist(place, monkeypatch):
    monkeypatch.chdir(place[0])
    (tune,) = commands("maf-serving tune")
    assert parse_tune(shlex.split(tune)[2:]).latency_ms == 20
    serve, _ = commands("maf-serving serve")
    assert parse_serve_flags(shlex.split(serve)[2:]).extra == ()
