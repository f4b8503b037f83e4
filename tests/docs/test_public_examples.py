"""The examples in the docstrings of what the packages offer, run as a reader would: from a table to scores.

Those of `import maf_serving` are in `tests/maf_serving/test_doctests.py`.
"""

from __future__ import annotations

import doctest
import importlib
import pathlib
import pkgutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import FlowConfig, build_flow
from maf_serving.columns import as_condition_columns

CHAIN = ("maf", "export", "beam_jobs")


def sales(rows=600):
    rng = np.random.default_rng(0)
    season = rng.integers(1, 5, rows).astype(float)
    return pa.table({"season": season, "price": 8 + season + rng.normal(size=rows)})


def run_examples(examples, names):
    said = []
    runner = doctest.DocTestRunner()
    for name, found in examples.items():
        for test in doctest.DocTestFinder(recurse=False).find(found, name, globs=dict(names)):
            runner.run(test, out=said.append)
    assert runner.tries > 0
    assert not runner.failures, "".join(said)


def examples_of(packages, first=()):
    """What has examples, by name: `first`, which the others rest on, and what the packages offer."""
    found = {name: everything()[name] for package in packages for name in public(package)}
    return {name: everything()[name] for name in (*first, *sorted(found.keys() - public("maf_serving")))}


def everything():
    packages = (*CHAIN, "serving_config")
    return {name: getattr(importlib.import_module(package), name) for package in packages for name in public(package)}


def public(package):
    return importlib.import_module(package).__all__


@pytest.fixture
def names(tmp_path, monkeypatch):
    import apache_beam as beam  # noqa: PLC0415  # seconds
    import tensorflow as tf  # noqa: PLC0415
    import tensorflow_probability as tfp  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    pq.write_table(sales(), "sales.parquet")
    flow = build_flow(FlowConfig(event_size=2, condition_size=1, num_layers=1))
    x, c = tf.zeros([3, 2]), tf.constant([[0.1], [0.2], [0.3]])
    libraries = {"Path": pathlib.Path, "beam": beam, "np": np, "pq": pq, "tf": tf}
    libraries |= {"tfb": tfp.bijectors, "tfd": tfp.distributions, "as_condition_columns": as_condition_columns}
    return {**everything(), **libraries, "flow": flow, "x": x, "c": c}


@pytest.mark.slow
def test_from_a_table_to_a_flow(names):
    run_examples(examples_of(["maf"], first=["start_run"]), names)


@pytest.mark.slow
def test_from_a_flow_to_scores(names):
    run_examples(examples_of(["export", "beam_jobs"], first=["start_run", "export_model"]), names)


def test_the_configuration_of_a_server():
    examples = examples_of(["serving_config"])
    run_examples(examples, everything())


@pytest.mark.parametrize("package", [*CHAIN, "serving_config", "maf_serving"])
def test_no_public_name_is_a_module_too(package):
    """It would be one or the other, by what was imported before."""
    modules = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    assert modules & set(public(package)) <= {"errors"}  # which is public as a module
