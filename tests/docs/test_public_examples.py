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

CHAIN = ("maf", "export", "beam_jobs")
FIRST = ("start_run", "export_model")  # what others rest on


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


def examples_of(packages):
    found = {name: getattr(importlib.import_module(package), name) for package in packages for name in public(package)}
    ordered = [name for name in FIRST if name in found] + [name for name in found if name not in public("maf_serving")]
    return {name: found[name] for name in ordered}


def public(package):
    return importlib.import_module(package).__all__


@pytest.mark.slow
def test_from_a_table_to_scores(tmp_path, monkeypatch):
    import apache_beam as beam  # noqa: PLC0415  # seconds
    import tensorflow as tf  # noqa: PLC0415
    import tensorflow_probability as tfp  # noqa: PLC0415

    from maf_serving.columns import as_condition_columns  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    pq.write_table(sales(), "sales.parquet")
    examples = examples_of(CHAIN)
    names = {
        **{name: getattr(importlib.import_module(package), name) for package in CHAIN for name in public(package)},
        "Path": pathlib.Path,
        "as_condition_columns": as_condition_columns,
        "beam": beam,
        "np": np,
        "pq": pq,
        "tf": tf,
        "tfb": tfp.bijectors,
        "tfd": tfp.distributions,
        "x": tf.zeros([3, 2]),
        "c": tf.constant([[0.1], [0.2], [0.3]]),
    }
    names["flow"] = names["build_flow"](names["FlowConfig"](event_size=2, condition_size=1, num_layers=1))
    run_examples(examples, names)


def test_the_configuration_of_a_server():
    examples = examples_of(["serving_config"])
    run_examples({name: found for name, found in examples.items() if name != "Client"}, examples)  # it calls a server


@pytest.mark.parametrize("package", [*CHAIN, "serving_config", "maf_serving"])
def test_no_public_name_is_a_module_too(package):
    """It would be one or the other, by what was imported before."""
    modules = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    assert modules & set(public(package)) <= {"errors"}  # which is public as a module
