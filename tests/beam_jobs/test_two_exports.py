"""A contract and a SavedModel that are not of one export: TensorFlow would broadcast what does not fit, in silence."""

from __future__ import annotations

import json
import shutil

import pytest

from beam_jobs import JobError, SavedModelHandler, ScoreOptions, score_table
from export.contract import CONTRACT_PATH


def narrow(contract):
    contract["event_columns"] = ["x0"]
    for signature in contract["signatures"].values():
        for specs in (signature["inputs"], signature["outputs"]):
            specs |= {name: {"dtype": "float32", "shape": [None, 1]} for name in ("x", "z") if name in specs}


def test_no_row_is_scored(model_base, write_parquet, tmp_path):
    version = tmp_path / "model" / "3"
    shutil.copytree(model_base / "3", version)
    contract = json.loads((version / CONTRACT_PATH).read_text())
    narrow(contract)
    (version / CONTRACT_PATH).write_text(json.dumps(contract))
    path = write_parquet("a.parquet", {name: [1.0, 2.0, 3.0] for name in ("x0", "x1", "c0")})
    options = ScoreOptions(model=str(version), input_patterns=(path,), output=str(tmp_path / "out"))
    message = r"takes x of float32 \(None, 2\) in 'log_prob' and got float32 \(3, 1\); its contract.json"
    with pytest.raises(JobError, match=message):
        score_table(options)
    assert not (tmp_path / "out").exists()


def test_a_signature_that_only_the_contract_has(model_base):
    handler = SavedModelHandler(str(model_base / "3"), signature_name="density")
    with pytest.raises(JobError, match=r"saved_model.pb has no signature 'density'; its contract.json says otherwise"):
        handler.load_model().run("density", {})
