"""From a table in memory to a run, an export, jobs and a server; a word on each thing that can be wrong."""

from __future__ import annotations

import json
import signal
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from tests.serving_config.served_flow import write_flow
from tests.shop_model import save_shop_model

OPTIONS = {"max_epochs": 1, "num_layers": 1, "hidden_units": [8], "jit_compile": "off", "announce": list}


def table(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    region = pa.array(rng.choice(["north", "south"], rows), mask=rng.random(rows) < 0.1)
    season = rng.integers(1, 5, rows).astype(float)
    return pa.table({"id": np.arange(rows), "season": season, "region": region, "price": rng.normal(season, 1.0)})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "sales"
    return ms.train(table(), event="price", condition=["season", "region"], run=place, **OPTIONS)


def test_a_run(run):
    assert run.event_columns == ("price",)
    assert run.condition_columns == ("season", "region")
    assert run.summary.epochs == 1
    assert pq.read_schema(run.path / "table.parquet").names == ["price", "season", "region"]


def test_a_run_answers_as_when_it_is_loaded(run):
    answers = run.log_prob(table(50, seed=1))
    loaded = ms.load_run(run.path)
    np.testing.assert_allclose(loaded.log_prob(table(50, seed=1)), answers, rtol=1e-5)
    assert run.check({"price": [None], "season": [1.0], "region": [None]}).to_pylist() == ["price: null"]
    assert run.sample({"season": [1.0], "region": ["x"]}, num_samples=5, seed=1).num_rows == 5
    assert run.inverse(table(5)).column_names == ["log_prob", "z_price"]
    z = {"z_price": [0.0], "season": [1.0], "region": ["north"]}
    assert run.forward(z).column_names == ["price"]
    assert loaded.contract.training.epochs == 1


def test_the_export_answers_as_the_run(run, tmp_path):
    version = ms.export(run, tmp_path / "sales", signatures=["sample_with_seed"])
    assert version == tmp_path / "sales" / "1"
    model = ms.load(tmp_path / "sales")
    rows = table(100, seed=1)
    np.testing.assert_allclose(model.log_prob(rows), run.log_prob(rows), rtol=1e-5, atol=1e-5)
    drawn, expected = (each.sample(rows, num_samples=2, seed=7) for each in (model, run))
    np.testing.assert_allclose(drawn["price"], expected["price"], rtol=1e-4, atol=1e-4)
    assert ms.read_contract(version).training.validation_nll == pytest.approx(run.summary.validation_nll)


def test_files_and_a_table_give_the_same_run(run, tmp_path):
    pq.write_table(table(), tmp_path / "sales.parquet")
    other = ms.train(
        tmp_path / "sales.parquet", event=["price"], condition=["season", "region"], run=tmp_path / "run", **OPTIONS
    )
    assert other.summary == run.summary
    assert not (tmp_path / "run" / "table.parquet").exists()


def test_data_frames_and_test_rows_of_their_own(run, tmp_path):
    pd = pytest.importorskip("pandas")
    frame = table().to_pandas().set_index("id")
    trained = ms.train(
        frame, test=table(60, seed=2), event="price", condition="season", run=tmp_path / "run", **OPTIONS
    )
    assert trained.summary.test_rows == 60
    assert isinstance(trained.log_prob(frame), pd.Series)
    assert (tmp_path / "run" / "test_table.parquet").exists()


def test_columns_beside_the_model_come_along(tmp_path):
    with pytest.raises(
        ms.errors.UsageError, match="the table has no column 'w'; its columns: id, season, region, price"
    ):
        ms.train(table(), event="price", run=tmp_path / "run", weight="w", **OPTIONS)
    rows = table().set_column(2, "region", pa.array(["north", "south"] * 200))
    with pytest.raises(ms.errors.UsageError, match="'region' that --split_by group:region reads has 2 groups in 400"):
        ms.train(rows, event="price", run=tmp_path / "run", split_by="group:region", **OPTIONS)


def test_a_run_that_was_cut_short_goes_on(tmp_path):
    class CutError(Exception):
        pass

    def cut(line):
        if "epoch" in line:
            raise CutError

    place = tmp_path / "run"
    options = {**OPTIONS, "max_epochs": 3, "announce": cut}
    with pytest.raises(CutError):
        ms.train(table(), event="price", condition=["season", "region"], run=place, **options)
    with pytest.raises(ms.errors.UsageError, match="is not finished; finish it with"):
        ms.load_run(place)
    assert ms.resume_run(place, announce=list).summary.epochs == 3


REFUSED = {
    "a near miss": ({"max_epoch": 1}, r"train\(\) has no option 'max_epoch'; did you mean max_epochs\?"),
    "no option": ({"zzz": 1}, "has no option 'zzz'; expected one of csv, manifest, validation_share"),
    "a type": ({"max_epochs": "3"}, "max_epochs is '3'; expected int"),
    "a choice": ({"transform": "cubic"}, "transform is 'cubic'; expected one of affine, spline"),
    "a column": ({"condition": ["Region"]}, "no column 'Region'; did you mean 'region'"),
    "no table": ({"table": 3}, "the table is a int; expected a DataFrame"),
    "no file": ({"table": "none.parquet"}, "no file matches 'none.parquet'"),
    "text as event": (
        {"event": "region"},
        r"table\.parquet, row 0 \(from 0\): region: not a number: '\w+'; expected numbers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_training_refuses(tmp_path, case):
    changes, message = REFUSED[case]
    arguments = {"table": table(), "event": "price", "condition": ["season"], "run": tmp_path / "run", "announce": list}
    with pytest.raises(ms.errors.UsageError, match=message) as caught:
        ms.train(**{**arguments, **changes})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_taken_run_directory(run):
    with pytest.raises(ms.errors.UsageError, match="exists; name a new one"):
        ms.train(table(), event="price", run=run.path, announce=list)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event": ["price"]}, "a run knows its columns"),
        ({"model": object()}, r"got a object and no event; expected a run, or a distribution with event=\[...\]"),
        ({"model": "none"}, "none.*expected a run directory"),
    ],
)
def test_export_refuses(run, tmp_path, arguments, message):
    with pytest.raises(ms.errors.UsageError, match=message):
        ms.export(**{"model": run, "model_base": tmp_path, **arguments})


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return save_shop_model(tmp_path_factory.mktemp("shop") / "shop")


SHOP = {
    "id": ["a", "b", "c"],
    "x0": [1.0, 2.0, None],
    "x1": [0.5, -1.0, 0.0],
    "region": ["north", None, "süd"],
    "price": [1.0, 2.0, 3.0],
    "store": [7, -12, 7],
    "temperature": [20.0, None, 21.0],
}


@pytest.mark.parametrize("given", ["a file", "a table"])
def test_jobs_answer_as_the_model(shop, tmp_path, given):
    rows = pa.table(SHOP)
    pq.write_table(rows, tmp_path / "rows.parquet")
    source = tmp_path / "rows.parquet" if given == "a file" else rows
    summary = ms.score(shop, source, output=tmp_path / "scores", keep="id")
    assert (summary.rows_scored, summary.rows_rejected) == (2, 1)
    scored = pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / "scores").glob("scored-*")))
    model = ms.load(shop)
    np.testing.assert_allclose(scored["log_prob"], model.log_prob(rows)[:2], rtol=1e-5)
    assert scored["id"].to_pylist() == ["a", "b"]

    ms.sample(shop, source, output=tmp_path / "samples", num_samples=3, seed=7, keep=["id", "store"])
    drawn = pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / "samples").glob("samples-*")))
    drawn = drawn.sort_by([("row", "ascending"), ("draw", "ascending")])
    here = model.sample(rows, num_samples=3, seed=7)
    np.testing.assert_allclose(drawn["x0"], here["x0"], rtol=1e-5)

    evaluated = ms.evaluate(shop, source, output=tmp_path / "report", group_column="store")
    assert {group.group for group in evaluated.groups} == {"7", "-12"}


def test_jobs_refuse(shop, tmp_path):
    with pytest.raises(ms.errors.UsageError, match=r"a job has no option 'rows_a_call'; did you mean rows_per_call\?"):
        ms.score(shop, pa.table(SHOP), output=tmp_path / "o", rows_a_call=3)
    with pytest.raises(ms.errors.UsageError, match="no column 'ID'; did you mean 'id'"):
        ms.score(shop, pa.table(SHOP), output=tmp_path / "o", keep="ID")
    with pytest.raises(ms.errors.UsageError, match="max_rejected is 'few'; expected float"):
        ms.score(shop, "rows.parquet", output=tmp_path / "o", max_rejected="few")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    base = tmp_path_factory.mktemp("flow") / "flow"
    for version, scale in ((1, 1.0), (2, 2.0)):
        write_flow(base / str(version), scale)
        (base / str(version) / "assets.extra").mkdir(exist_ok=True)
    return base


def test_a_server_answers_and_ends(served):
    with ms.serve(served, backend="local") as server:
        assert server.name == "flow"
        with urllib.request.urlopen(f"{server.rest_url}/v1/models/flow") as answer:  # noqa: S310  # of ours
            assert json.load(answer)["model_version_status"][0]["version"] == "2"
        with ms.Client("flow", grpc_target=server.grpc_target) as client:
            assert client.log_prob([[0.0, 0.0]], [[0.0]]).shape == (1,)
        assert "serves flow" in server.log
        process = server._process
    assert process.returncode == 0
    assert repr(server).endswith(", closed)")
    server.close()


def test_one_version_and_an_exception(served):
    servers = []

    def call_and_fail():
        with ms.serve(served / "1", name="one", backend="local") as server:
            servers.append(server)
            with ms.Client("one", grpc_target=server.grpc_target) as client:
                assert [status.version for status in client.model_status()] == [1]
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        call_and_fail()
    assert not servers[0].is_running


def test_a_server_that_cannot_start(served, tmp_path):
    with pytest.raises(ms.errors.UsageError, match=r"did not start: .*enable_batchin"):
        ms.serve(served, backend="local", flags=["--enable_batchin"])
    with pytest.raises(ms.errors.UsageError, match="does not exist; expected a version directory"):
        ms.serve(tmp_path / "none")


def test_a_server_that_is_killed(served):
    with ms.serve(served, backend="local") as server:
        server._process.send_signal(signal.SIGKILL)
        server._process.wait()
        assert not server.is_running
