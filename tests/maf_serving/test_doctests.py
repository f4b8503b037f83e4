"""The examples in the docstrings of what `import maf_serving`, `export` and `beam_jobs` offer, run on one model, and
those of the ground floor."""

from __future__ import annotations

import doctest
import importlib
import pathlib
import pkgutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam_jobs
import export
import maf_serving as ms
from maf import FlowConfig, build_flow
from maf_serving.columns import as_condition_columns

FIRST = ("train", "export")  # what the other examples rest on
OTHERS = [name for name in ms.__all__ if name not in FIRST]
APART = {"front", "errors"}  # their examples are run on the model
GROUND = [f"maf_serving.{module.name}" for module in pkgutil.iter_modules(ms.__path__) if module.name not in APART]


def table(rows, seed):
    rng = np.random.default_rng(seed)
    season = rng.integers(1, 5, rows)
    region = rng.choice(["north", "south", "east"], rows)
    price = 8 + season + (region == "south") + rng.normal(size=rows)
    region = pa.array(region, mask=rng.random(rows) < 0.1)
    return pa.table({"id": np.arange(rows), "season": season.astype(float), "region": region, "price": price})


def run_examples(name, found, names):
    for test in doctest.DocTestFinder(recurse=True).find(found, name, extraglobs=names):
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        said = []
        runner.run(test, out=said.append)
        assert not runner.failures, "".join(said)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the examples start from; the ones that train and export are run here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("sales"))
        for number in range(2):
            pq.write_table(table(300, number), f"new-{number}.parquet")
        given = {"ms": ms, "pathlib": pathlib, "table": table(600, 2)}
        for name in FIRST:
            run_examples(name, getattr(ms, name), given)
        yield given


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "Client"])
def test_examples(names, name):
    run_examples(name, getattr(ms, name), names)


@pytest.mark.parametrize("package", [export, beam_jobs])
def test_examples_of_the_packages(names, package):
    public = {name: getattr(package, name) for name in package.__all__ if name not in ms.__all__}
    libraries = {"Path": pathlib.Path, "pq": pq, "beam": pytest.importorskip("apache_beam")}
    flows = {"FlowConfig": FlowConfig, "build_flow": build_flow, "as_condition_columns": as_condition_columns}
    for name, found in public.items():
        run_examples(name, found, {**names, **public, **libraries, **flows, "read_contract": ms.read_contract})


def test_the_example_of_the_client(names):
    with ms.serve("models/sales", name="sales") as server:
        run_examples("Client", ms.Client, {**names, "server": server, "read_contract": ms.read_contract})


def test_the_example_of_the_package(names):
    run_examples("maf_serving", type("Package", (), {"__doc__": ms.__doc__}), names)


@pytest.mark.parametrize("name", ms.__all__)
def test_every_public_name_has_an_example(name):
    assert ">>>" in (getattr(ms, name).__doc__ or "")


@pytest.mark.parametrize("module", GROUND)
def test_examples_of_the_ground_floor(module):
    said = []
    finder = doctest.DocTestFinder()
    found = importlib.import_module(module)
    runner = doctest.DocTestRunner()
    for test in finder.find(found, module):
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_all_names_are_there():
    assert sorted(ms.__all__) == ms.__all__
    assert set(ms.__all__) <= set(dir(ms))
    assert {name for name in dir(ms) if not name.startswith("_")} >= set(ms.__all__)
    assert ms.__version__
    with pytest.raises(AttributeError, match="module 'maf_serving' has no attribute 'lod'"):
        ms.lod  # noqa: B018
