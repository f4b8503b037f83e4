import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig
from maf.condition_encoder import condition_encoders
from maf.errors import ConfigError
from maf.flow import chosen, size_flow, size_training
from maf.preparation import prepare
from maf.rows import split_table


def test_nothing_is_left_automatic_and_what_was_chosen_is_kept():
    flow = size_flow(FlowConfig(event_size=2, condition_size=3, num_layers=7, condition_units=()), 10_000)
    assert (flow.num_layers, flow.condition_units) == (7, ())
    training = size_training(TrainingConfig(dropout=0.0, weight_decay=0.0), 10_000, event_size=2, condition_size=3)
    assert (training.dropout, training.weight_decay) == (0.0, 0.0)
    left = [name for config in (flow, training) for name in config.__slots__ if getattr(config, name) is None]
    assert left == ["input_orders", "max_seconds"]


def test_few_rows_get_small_networks_strong_decay_and_many_passes():
    few, many = (size_training(TrainingConfig(), rows, event_size=1, condition_size=8) for rows in (800, 50_000))
    assert few.weight_decay > 5 * many.weight_decay
    assert few.max_epochs > 4 * many.max_epochs
    assert few.batch_size < many.batch_size
    small, large = (size_flow(FlowConfig(event_size=1, condition_size=8), rows) for rows in (800, 50_000))
    assert sum(small.condition_units) < sum(large.condition_units)
    assert small.num_layers < large.num_layers


def test_dropout_is_for_tables_of_moderate_size_with_several_conditions():
    shares = {
        (rows, size): size_training(TrainingConfig(), rows, event_size=1, condition_size=size).dropout
        for rows, size in [(50_000, 3), (90_000, 3), (50_000, 2)]
    }
    assert shares == {(50_000, 3): 0.1, (90_000, 3): 0.0, (50_000, 2): 0.0}


def test_projections_are_for_several_conditions_that_are_numbers_and_for_fewer_rows_of_several_event_columns():
    projections = {
        (event, rows, numbers): size_flow(
            FlowConfig(event_size=event, condition_size=9, number_columns=tuple(range(numbers))), rows
        ).condition_projections
        for event in (1, 2)
        for rows in (4_000, 8_000, 50_000)
        for numbers in (1, 2)
    }
    assert {where for where, number in projections.items() if number} == {(1, 50_000, 2), (2, 8_000, 2), (2, 50_000, 2)}
    one = FlowConfig(event_size=2, condition_size=9, projected_columns=(4,))
    assert size_flow(one, 50_000).condition_projections == 0
    assert size_flow(FlowConfig(event_size=2, condition_projections=5), 100).condition_projections == 5


def test_two_event_columns_of_many_rows_get_fine_splines():
    bins = {
        (event, rows): size_flow(FlowConfig(event_size=event, condition_size=1), rows).num_bins
        for event in (1, 2, 8)
        for rows in (5_000, 50_000)
    }
    assert {where for where, number in bins.items() if number == 16} == {(2, 50_000)}
    assert set(bins.values()) == {8, 16}
    assert size_flow(FlowConfig(event_size=2, num_bins=5), 50_000).num_bins == 5


def test_fine_splines_get_steps_enough_and_tables_that_bring_them_anyway_no_more_passes():
    passes = {
        (event, rows): size_training(TrainingConfig(), rows, event_size=event, condition_size=1).max_epochs
        for event in (1, 2, 8)
        for rows in (10_000, 20_000, 50_000, 600_000)
    }
    assert [passes[2, rows] for rows in (10_000, 20_000, 50_000, 600_000)] == [80, 200, 103, 10]
    assert all(passes[1, rows] == passes[8, rows] for rows in (10_000, 20_000, 50_000, 600_000))
    assert passes[1, 50_000] == 36
    assert passes[1, 600_000] == 10
    small = size_training(TrainingConfig(batch_size=128), 50_000, event_size=2, condition_size=1)
    assert small.max_epochs == 36


@pytest.mark.parametrize("condition_size", [1, 5, 20, 64, 500])
def test_encodings_of_many_columns_stay_moderate(condition_size):
    bins = size_flow(FlowConfig(event_size=1, condition_size=condition_size), 10_000).condition_bins
    assert bins >= 4
    assert bins * condition_size <= max(512, 4 * condition_size)


def test_a_resumed_run_keeps_its_patience():
    once = size_training(TrainingConfig(), 5_000, event_size=2, condition_size=3)
    assert size_training(once, 70, event_size=1, condition_size=1) == once


def test_what_is_still_automatic_is_an_error_and_no_none():
    assert chosen(0) == 0
    with pytest.raises(ConfigError, match="still automatic"):
        chosen(None)


def test_projections_are_of_columns_that_show_a_relation(tmp_path):
    rng = np.random.default_rng(0)
    c = rng.normal(size=(30_000, 4))
    x = np.abs(c[:, 0] - c[:, 2]) * rng.normal(size=len(c))
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": x, **{f"c{i}": column for i, column in enumerate(c.T)}}), path)
    data = DataConfig(data=(str(path),), event=("x",), condition=("c0", "c1", "c2", "c3"))
    config = RunConfig(data=data, flow=FlowConfig(event_size=1, condition_size=4), training=TrainingConfig())
    prepared = prepare(config, split_table(data, tmp_path / "rows", dtype="float32", seed=0))
    assert prepared.config.flow.projected_columns == (0, 2)
    assert prepared.config.flow.condition_projections == 64
    (encoder,) = condition_encoders(prepared.distribution)
    assert encoder.projection.shape == (2, 64)
