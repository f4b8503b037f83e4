"""A directory of files whose directories are named for columns: one table, for training, a batch job and the client."""

from __future__ import annotations

import contextlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from beam_jobs.options.job_options import Files
from beam_jobs.sources.input_files import find_sources
from maf.errors import DataError
from maf.table import CategoryCodes, open_files
from maf_serving.errors import UsageError
from maf_serving.saved_model import LoadedModel
from serving_config.client import table_call
from serving_config.client.options import parse_call
from tests.shop_model import log_prob, save_shop_model

# By file, what its directories and its columns say: x0, x1, region, price, store, temperature of each row.
FILES = {
    "region=north/store=7/a.parquet": [(1.0, 2.0, "north", 1.5, 7, 20.0), (0.5, 1.0, "north", 2.0, 7, None)],
    "region=s%C3%BCd/store=-12/b.csv": [(1.0, 1.0, "s\u00fcd", 1.0, -12, 3.0)],
    "region=__HIVE_DEFAULT_PARTITION__/store=8/c.parquet": [(2.0, -1.0, None, 0.5, 8, 1.0)],
}
OWN = ("x0", "x1", "price", "temperature")
NAMES = ("x0", "x1", "region", "price", "store", "temperature")


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    for name, rows in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True)
        columns = {each: [row[NAMES.index(each)] for row in rows] for each in OWN}
        if path.suffix == ".csv":
            path.write_text(",".join(OWN) + "\n" + ",".join(str(columns[each][0]) for each in OWN) + "\n")
        else:
            pq.write_table(pa.table({each: pa.array(values, pa.float64()) for each, values in columns.items()}), path)
    (directory / "_SUCCESS").touch()
    (directory / "_rejected-0.parquet").write_text("no table")
    (directory / "README.md").touch()
    return directory


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return save_shop_model(tmp_path_factory.mktemp("models") / "shop")


def test_a_batch_job(shop, data, tmp_path):
    summary = ms.score(shop, data, output=tmp_path / "out", keep=["region", "store"])
    assert (summary.rows_read, summary.rows_rejected) == (4, 0)
    scored = pq.ParquetDataset(sorted((tmp_path / "out").glob("scored-*"))).read()
    found = {
        (row["file"].removeprefix(f"{data}/"), row["row"]): (row["region"], row["store"], row["log_prob"])
        for row in scored.to_pylist()
    }
    assert found == {
        (file, index): (row[2], row[4], pytest.approx(log_prob(*row), rel=1e-4))
        for file, rows in FILES.items()
        for index, row in enumerate(rows)
    }


@pytest.mark.parametrize("pattern", ["data", "data/*/*/*.*"])
def test_training(data, pattern):
    condition = ("region", "price", "store", "temperature")
    table = open_files([str(data.parent / pattern)], NAMES, condition=condition, categorical=("store",))
    assert table.categories == {"region": "string", "store": "integer"}
    regions, stores = ("north", "s\u00fcd"), (7, -12, 8)
    codes = {"region": CategoryCodes("region", "string", regions), "store": CategoryCodes("store", "integer", stores)}
    read = np.concatenate(list(table.batches(codes)))
    rows = [row for file in sorted(FILES) for row in FILES[file]]
    expected = [
        [x0, x1, np.nan if region is None else regions.index(region), price, stores.index(store), temperature]
        for x0, x1, region, price, store, temperature in rows
    ]
    np.testing.assert_array_equal(read, np.array(expected, float))


def test_the_client_reads_a_file_with_its_directories(shop, data, tmp_path, monkeypatch):
    model = LoadedModel.load(shop / "1")

    class Server:
        def predict(self, signature_name, inputs, *, rows_per_request=None):
            return model.run(signature_name, {name: np.asarray(array) for name, array in inputs.items()})

    monkeypatch.setattr(table_call, "open_client", lambda _: contextlib.nullcontext(Server()))
    flags = ["log_prob", "--rest_url=http://localhost:1", "--model_name=shop", f"--model={shop}", "--keep=store,region"]
    for name, rows in FILES.items():
        output = tmp_path / "o.parquet"
        parsed = parse_call([*flags, f"--input={data / name}", f"--output={output}", "--overwrite"])
        assert table_call.call_table(parsed).rows == len(rows)
        scored = pq.read_table(output).to_pylist()
        expected = [pytest.approx(log_prob(*row), rel=1e-4) for row in rows]
        assert [row["log_prob"] for row in scored] == expected
        assert [(row["store"], row["region"]) for row in scored] == [(row[4], row[2]) for row in rows]


def test_a_column_of_the_file_itself_counts(tmp_path):
    path = tmp_path / "x=1" / "a.csv"
    path.parent.mkdir()
    path.write_text("x,y\n2,3\n")
    (batch,) = open_files([str(path)], ["x", "y"]).batches()
    np.testing.assert_array_equal(batch, [[2, 3]])


def test_a_directory_without_tables_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"directory .* has no file that ends in \.parquet, \.pq, \.csv"):
        open_files([str(tmp_path)], ["x"])
    with pytest.raises(UsageError, match="is a directory without a file that ends in"):
        find_sources([Files(str(tmp_path))])


def test_names_of_files_with_commas_and_spaces(tmp_path):
    path = tmp_path / "sales, 2024 (new).csv"
    path.write_text("x\n2\n")
    (batch,) = open_files([str(path)], ["x"]).batches()
    assert batch.tolist() == [[2]]
    assert [source.path for source in find_sources([Files(str(path))])] == [str(path)]
