"""The examples in the docstrings of what `maf` and `serving_config` offer, run as a reader would.

Those that need an exported model are in `tests/maf_serving/test_doctests.py`.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import FlowConfig, build_flow


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


def public(package):
    """By name, what a package offers."""
    module = importlib.import_module(package)
    return {name: getattr(module, name) for name in module.__all__}


@pytest.fixture
def names(tmp_path, monkeypatch):
    import tensorflow as tf  # noqa: PLC0415  # seconds
    import tensorflow_probability as tfp  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    pq.write_table(sales(), "sales.parquet")
    flow = build_flow(FlowConfig(event_size=2, condition_size=1, num_layers=1))
    x, c = tf.zeros([3, 2]), tf.constant([[0.1], [0.2], [0.3]])
    libraries = {"np": np, "tf": tf, "tfb": tfp.bijectors, "tfd": tfp.distributions}
    return {**public("maf"), **libraries, "flow": flow, "x": x, "c": c}


@pytest.mark.slow
def test_from_a_table_to_a_flow(names):
    examples = public("maf")
    run_examples({"start_run": examples["start_run"], **examples}, names)  # others read what it leaves


def test_the_configuration_of_a_server():
    examples = public("serving_config")
    run_examples({name: examples[name] for name in examples if name != "Client"}, examples)  # it needs a server


@pytest.mark.parametrize("package", ["maf", "export", "beam_jobs", "serving_config", "maf_serving"])
def test_no_public_name_is_a_module_too(package):
    """It would be one or the other, by what was imported before."""
    modules = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    assert modules & public(package).keys() <= {"errors"}  # which is public as a module
