"""README's five minutes, from a table to answers, as they stand there but for one epoch and free ports."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.docs.commands import ROOT, in_blocks, words
from tests.serving_config.served_flow import await_model, free_ports, stop

COMMANDS = in_blocks(ROOT / "README.md")
ENV = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def command(name):
    found = next(each for each in COMMANDS if each.startswith(f"maf-serving {name} "))
    return ["-m", "maf_serving", *words(found)[1:]]


def run(place, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=place, env=ENV, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


@pytest.mark.faults  # with the other proofs that take minutes; every run reads these commands: test_commands.py
def test_from_a_table_to_answers(tmp_path):
    rng = np.random.default_rng(0)

    def write(name, rows):
        season = rng.integers(0, 4, rows).astype("f")
        columns = {"season": season, "region_id": rng.integers(0, 5, rows).astype("f"), "id": np.arange(rows)}
        columns |= {"price": rng.normal(season, 1.0).astype("f"), "volume": rng.normal(100, 9, rows).astype("f")}
        pq.write_table(pa.table(columns), tmp_path / name)

    for name in ("sales-0.parquet", "sales-1.parquet", "new-0.parquet", "conditions-0.parquet", "test.parquet"):
        write(name, 300)
    write("new.parquet", 20)

    run(tmp_path, *command("train"), "--max_epochs", "1", "--num_layers", "1", "--jit_compile", "off")
    run(tmp_path, *command("report"))
    assert (tmp_path / "sales.html").stat().st_size > 10_000
    assert run(tmp_path, *command("export")[:7]).endswith("version: models/sales/1\n")
    run(tmp_path, *command("score"))
    assert json.loads((tmp_path / "out" / "scores" / "_summary.json").read_text())["rows_scored"] == 300
    run(tmp_path, *command("sample"))
    assert json.loads((tmp_path / "out" / "samples" / "_summary.json").read_text())["rows_read"] == 300
    run(tmp_path, *command("evaluate"))
    assert (tmp_path / "out" / "report" / "report.html").is_file()
    run(tmp_path, *command("config"))
    assert (tmp_path / "serving" / "serve.sh").is_file()

    port, rest = map(str, free_ports(2))
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                *command("serve"),
                "--backend",
                "local",
                "--port",
                port,
                "--rest_api_port",
                rest,
            ],
            cwd=tmp_path,
            env=ENV,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        await_model("sales", log, process, rest_url=f"http://localhost:{rest}")
        run(tmp_path, *(word.replace("8501", rest) for word in command("client")))
        assert pq.read_table(tmp_path / "scored.parquet").num_rows == 20
        curl = next(words(each) for each in COMMANDS if each.startswith("curl ") and "sales:predict" in each)
        url, body = curl[1].replace("8501", rest), curl[curl.index("-d") + 1].encode()
        with urllib.request.urlopen(url, body) as answer:  # noqa: S310
            assert np.isfinite(json.load(answer)["predictions"]).all()
    finally:
        stop(process)
