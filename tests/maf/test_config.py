import json

import pytest

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig
from maf.config import BoundedColumn
from maf.errors import ConfigError

CONFIG = RunConfig(
    data=DataConfig(data=("a.parquet", "b/*.csv"), event=("y0", "y1"), condition=("c0",)),
    flow=FlowConfig(event_size=2, condition_size=1, num_layers=2, input_orders=((1, 2), (2, 1))),
    training=TrainingConfig(learning_rate=1),
)


def test_json_both_ways():
    assert RunConfig.from_json(CONFIG.to_json()) == CONFIG


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("flow", {"num_layer": 3}, "flow has an unknown key 'num_layer'"),
        ("flow", {"num_layers": "3"}, "flow.num_layers is '3'; expected int"),
        ("flow", {"num_layers": True}, "flow.num_layers is True; expected int"),
        ("data", {"event": "y0"}, "data.event is 'y0'"),
        ("training", {"learning_rate": None}, "training.learning_rate is None; expected float"),
        ("training", {"batch_size": 2.5}, "training.batch_size is 2.5; expected"),
    ],
)
def test_json_that_is_not_ours_is_refused(section, change, message):
    data = json.loads(CONFIG.to_json())
    data[section] |= change
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_json(json.dumps(data))


def test_a_run_from_before_there_were_bins_has_none():
    data = json.loads(CONFIG.to_json())
    del (
        data["flow"]["bounded"],
        data["flow"]["condition_bins"],
        data["flow"]["condition_projections"],
        data["flow"]["projected_columns"],
        data["flow"]["heavy_tailed"],
        data["flow"]["regression"],
        data["flow"]["logarithmic"],
    )
    flow = RunConfig.from_json(json.dumps(data)).flow
    assert (flow.condition_bins, flow.heavy_tailed, flow.logarithmic, flow.regression) == (0, (), (), "off")
    assert flow.bounded == ()
    assert flow.condition_projections == 0


def test_missing_keys_and_broken_json_are_refused():
    data = json.loads(CONFIG.to_json())
    del data["flow"]["event_size"]
    with pytest.raises(ConfigError, match="flow lacks the key 'event_size'"):
        RunConfig.from_json(json.dumps(data))
    with pytest.raises(ConfigError, match="not JSON"):
        RunConfig.from_json("{")


def bounded(index, lower=0.0, far_side="straight"):
    return BoundedColumn(index=index, lower=lower, upper=None, unit=1.0, closest=1e-6, far_side=far_side)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FlowConfig(event_size=0), "event_size is 0; expected at least 1"),
        (lambda: FlowConfig(event_size=1, transform="linear"), "transform is 'linear'; expected one of affine, spline"),
        (lambda: FlowConfig(event_size=1, hidden_units=(8, 0)), r"hidden_units is \[8, 0\]"),
        (lambda: FlowConfig(event_size=2, num_layers=1, input_orders=((1, 1),)), "expected 1 permutations"),
        (lambda: FlowConfig(event_size=1, log_scale_bound=0), "log_scale_bound is 0; expected more than 0"),
        (lambda: DataConfig(data=("a",), event=()), "event is empty"),
        (lambda: DataConfig(data=("a",), event=("y",), condition=("y",)), "column 'y' is named 2 times"),
        (
            lambda: DataConfig(data=("a",), event=("y",), validation_share=0.6, test_share=0.4),
            "some rows for validation",
        ),
        (lambda: DataConfig(data=("a",), event=("y",), test_share=1.0), "test_share is 1.0"),
        (lambda: TrainingConfig(batch_size=0), "batch_size is 0"),
        (lambda: TrainingConfig(dropout=1.0), "dropout is 1.0; expected a share"),
        (lambda: TrainingConfig(weight_decay=-1.0), "weight_decay is -1.0; expected at least 0"),
        (lambda: FlowConfig(event_size=1, heavy_tailed=(1,)), "heavy_tailed is .1,.; expected indices below 1"),
        (lambda: FlowConfig(event_size=1, logarithmic=(-1,)), "logarithmic is .-1,.; expected indices below 1"),
        (
            lambda: FlowConfig(event_size=1, logarithmic=(0,), bounded=(bounded(0),)),
            "logarithmic is .0,. and bounded has .0.; expected each column once",
        ),
        (lambda: FlowConfig(event_size=1, bounded=(bounded(1),)), "bounded is .1,.; expected indices below 1"),
        (lambda: bounded(0, lower=None), "a column without lower and upper"),
        (lambda: bounded(0, far_side="log"), "far_side is 'log'; expected one of straight, odds"),
        (
            lambda: DataConfig(data=("a",), event=("y",), lower_bound=("z=0",)),
            "lower_bound has z=0; expected one of the event columns y and a finite value",
        ),
        (lambda: DataConfig(data=("a",), event=("y",), upper_bound=("y=inf",)), "upper_bound has y=inf"),
        (
            lambda: DataConfig(data=("a",), event=("y",), upper_bound=("y",)),
            "upper_bound has 'y'; expected COLUMN=VALUE, as in share=1",
        ),
        (
            lambda: DataConfig(data=("a",), event=("y",), lower_bound=("y=1",), upper_bound=("y=1",)),
            "lower_bound has y=1 and upper_bound y=1; expected the lower one below",
        ),
        (lambda: FlowConfig(event_size=1, input_orders=((1,),)), "input_orders came without num_layers"),
        (lambda: TrainingConfig(learning_rate=float("nan")), "learning_rate is nan"),
    ],
)
def test_values_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
