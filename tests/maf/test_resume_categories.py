import numpy as np
import pytest

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, continue_run, start_run
from maf.run_directory import RunDirectory
from tests.maf.test_condition_rows import make_table, write


def test_an_interrupted_run_with_categories_ends_as_it_would_have(tmp_path):
    """Vocabularies, hidden categories and batches are the same."""
    condition = ("region", "store", "income", "age")
    config = RunConfig(
        data=DataConfig(
            data=(write(tmp_path / "a.parquet", make_table(1_000)),),
            event=("y",),
            condition=condition,
            categorical=("store",),
        ),
        flow=FlowConfig(event_size=1, condition_size=4, num_layers=1, condition_units=(8,), transform="affine"),
        training=TrainingConfig(max_epochs=4, batch_size=100, jit_compile="off"),
    )
    whole = start_run(config, tmp_path / "whole", announce=lambda _: None)

    def interrupt(line):
        if line.startswith("epoch   2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_run(config, tmp_path / "cut", announce=interrupt)
    resumed = continue_run(tmp_path / "cut", announce=lambda _: None)
    assert resumed.condition_columns == whole.condition_columns
    for mine, other in zip(resumed.distribution.variables, whole.distribution.variables, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    assert RunDirectory(tmp_path / "cut").read_config() == RunDirectory(tmp_path / "whole").read_config()
