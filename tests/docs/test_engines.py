"""The examples of engines.md, as they stand: the scores of the model, from whatever engine is installed."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from tests.beam_jobs.conftest import save_model
from tests.docs.commands import ROOT

PAGE = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
PACKAGES = {"Ray Data": "ray", "Dask": "dask.dataframe", "DuckDB": "duckdb", "Polars": "polars"}
ROWS = 5000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ms.load(save_model(tmp_path_factory.mktemp("models") / "gaussian", base_kind="normal"))


def test_every_engine_has_its_example():
    assert set(EXAMPLES) == {"Spark", *PACKAGES}


@pytest.mark.parametrize("engine", PACKAGES)
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of engines that are not ours
def test_an_example(engine, model, tmp_path, monkeypatch):
    pytest.importorskip(PACKAGES[engine], reason=f"{engine} is not installed")
    rng = np.random.default_rng(0)
    table = pa.table({"id": np.arange(ROWS), **{name: rng.normal(size=ROWS) for name in ("x0", "x1", "c0")}})
    x0 = pa.array(table["x0"].to_numpy(), mask=np.arange(ROWS) % 7 == 0)
    table = table.set_column(1, "x0", x0)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=1000)
    place = tmp_path / "rows.parquet"
    names = {"model": model}
    exec(EXAMPLES[engine].replace("rows.parquet", str(place)), names)  # noqa: S102  # our own page
    scores = as_table(engine, names["scores"]).sort_by("id")
    assert scores.schema.names == ["id", "log_prob", "reason"]
    assert scores["id"].to_pylist() == list(range(ROWS))
    np.testing.assert_allclose(scores["log_prob"].drop_null(), model.log_prob(table).drop_null(), rtol=1e-5)
    assert scores["reason"].to_pylist() == ["x0: null" if i % 7 == 0 else None for i in range(ROWS)]


def as_table(engine, scores):
    if engine == "Ray Data":
        import ray  # noqa: PLC0415  # where it is installed

        try:
            return pa.concat_tables(ray.get(scores.to_arrow_refs())).cast(
                pa.schema([("id", pa.int64()), ("log_prob", pa.float32()), ("reason", pa.string())])
            )
        finally:
            ray.shutdown()
    if engine == "Dask":
        table = pa.Table.from_pandas(scores.compute(scheduler="processes", num_workers=2), preserve_index=False)
        return table.set_column(1, "log_prob", pa.array(table["log_prob"].to_pandas(), from_pandas=True))
    return scores.read_all() if engine == "DuckDB" else scores.to_arrow()
