import json
import subprocess
import sys

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig, read_run
from maf.errors import ConfigError, DataError, SearchError
from maf.flow import size_all
from maf.search.arguments import SearchArguments, parse_search
from maf.search.search_directory import clearly_better
from maf.search.space import configure, defaults, first_values, space
from maf.search.study import search
from tests.forked import DEVNULL, PIPE, Forked
from tests.waiting import until

FIXED = frozenset({"condition_units", "num_layers", "num_bins", "max_epochs", "batch_size", "condition_bins"})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    c = rng.normal(size=800)
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    pq.write_table(pa.table({"y": c + rng.normal(size=800), "c": c}), path)
    return path


def arguments(table, output, **other):
    config = RunConfig(
        data=DataConfig(data=(str(table),), event=("y",), condition=("c",)),
        flow=FlowConfig(
            event_size=1, condition_size=1, condition_units=(8,), num_layers=1, num_bins=4, condition_bins=4
        ),
        training=TrainingConfig(max_epochs=2, batch_size=256, jit_compile="off"),
    )
    return SearchArguments(
        **{"output": output, "config": config, "fixed": FIXED, "time_budget": 1e6, "max_trials": 2, "folds": 1, **other}
    )


def test_the_best_trial_is_left_as_a_run_and_a_second_search_goes_on(table, tmp_path):
    said = []
    output = tmp_path / "search"
    search(arguments(table, output), announce=said.append)
    (output / "best.before").mkdir()
    (output / "best.before" / "weights.npz").write_text("of a search that was killed between two renames")
    report = search(arguments(table, output, max_trials=3), announce=said.append)
    header, *lines = [line for line in said if "warning" not in line]
    assert header.split()[:3] == ["trial", "validation", "NLL"]
    lines = [line for line in lines if not line.startswith("trial")]
    assert [int(line.split()[0]) for line in lines] == [0, 1, 0, 1, 2]  # the second search shows what there was
    number = int((output / "best" / "trial.json").read_text())
    (kept,) = {line for line in lines[2:] if int(line.split()[0]) == number}
    assert read_run(output / "best").training_summary.validation_nll == pytest.approx(float(kept.split()[1]), abs=1e-4)
    assert f"maf-serving export --run {output / 'best'}" in report
    assert not (output / "best.before").exists()


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_with_the_trial_that_was_cut_short(table, tmp_path):
    output = tmp_path / "s"
    options = ["--event=y", "--condition=c", "--num_layers=1", "--num_bins=4", "--condition_units=8", "--batch_size=64"]
    argv = [f"--data={table}", f"--output={output}", *options, "--max_epochs=60", "--jit_compile=off", "--folds=1"]
    command = [sys.executable, "-m", "maf.search", *argv, "--max_trials=9"]
    with Forked(command, stdout=PIPE, stderr=DEVNULL) as process:
        before = next(line.rstrip("\n") for line in process.stdout if line.startswith("    0 "))
        until(lambda: (output / "trial" / "config.json").exists() and list((output / "trial").glob("state*")))
        process.kill()
        rest = process.stdout.read().splitlines()  # a trial may have ended between
    done = [before, *(line for line in rest if line.split()[0].isdigit())]
    (cut_short,) = [trial.params for trial in trials_of(output) if trial.state.name == "RUNNING"]
    best = read_run(output / "best").training_summary.validation_nll

    said = []
    search(parse_search([*argv, f"--max_trials={len(done) + 1}"]), announce=said.append)
    lines = [line for line in said if line.split()[0].isdigit()]
    assert [without_star(line) for line in lines[: len(done)]] == [without_star(line) for line in done]
    assert len(lines) == len(done) + 1  # none of them was tried again
    killed, again = trials_of(output)[-2:]
    assert (killed.state.name, again.state.name) == ("FAIL", "COMPLETE")
    assert killed.params == again.params == cut_short
    assert read_run(output / "best").training_summary.validation_nll <= best


def trials_of(output):
    storage = JournalStorage(JournalFileBackend(str(output / "trials.journal")))
    return optuna.load_study(study_name="search", storage=storage).get_trials()


def without_star(line):
    return line.replace("*", " ")


@pytest.mark.parametrize(
    ("gains", "better"),
    [
        ([0.1] * 50, True),
        ([0.2, -0.1] * 50, True),
        ([2.0, -1.9] * 50, False),
        ([0.0] * 50, False),
        ([-0.1] * 50, False),
    ],
)
def test_a_trial_is_better_if_its_gains_are_more_than_noise(gains, better):
    base = np.random.default_rng(0).normal(size=len(gains))
    assert clearly_better(base + gains, base) is better


def test_a_trial_that_ended_when_the_kill_came_is_settled_and_not_repeated(table, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise Killed

    output = tmp_path / "s"
    monkeypatch.setattr("maf.search.search_directory.SearchDirectory.keep_if_best", killed)
    with pytest.raises(Killed):
        search(arguments(table, output, max_trials=1), announce=lambda _: None)
    monkeypatch.undo()
    assert not (output / "best").exists()
    said = []
    search(arguments(table, output, max_trials=1), announce=said.append)
    assert [line.split()[0] for line in said if line.split()[0].isdigit()] == ["0"]
    assert read_run(output / "best").training_summary.validation_nll == pytest.approx(trials_of(output)[0].value)
    assert (output / "best" / "trial.json").read_text() == "0\n"


def test_a_trial_that_is_worse_than_the_others_is_stopped_and_stays_so(table, tmp_path, monkeypatch):
    monkeypatch.setattr(
        optuna.Trial, "should_prune", lambda trial: np.bool_(trial.number == 1)
    )  # its pruners answer so
    said = []
    for _ in range(2):
        search(arguments(table, tmp_path / "s", max_trials=3), announce=said.append)
    lines = [line for line in said if line.split()[0].isdigit()]
    assert ["worse than hal" in line for line in lines] == [False, True, False] * 2
    assert [trial.state.name for trial in trials_of(tmp_path / "s")] == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_a_trial_on_several_splits_is_judged_by_the_validation_rows_of_all(table, tmp_path):
    said = []
    search(arguments(table, tmp_path / "s", max_trials=1, folds=3), announce=said.append)
    assert "each trial is trained on 3 splits, and judged by the validation rows of all" in said
    judged = np.load(tmp_path / "s" / "best" / "validation_log_prob.npy")
    first = read_run(tmp_path / "s" / "best").training_summary
    assert len(judged) == 3 * first.validation_rows
    assert -judged[: first.validation_rows].mean() == pytest.approx(first.validation_nll, abs=1e-3)
    (trial,) = trials_of(tmp_path / "s")
    assert trial.value == pytest.approx(-judged.mean())
    assert not (tmp_path / "s" / "fold").exists()


class Killed(BaseException):
    """Stands for a kill at a moment too short to hit from outside: nothing catches it."""


def test_the_time_budget_ends_a_trial_but_never_the_first(table, tmp_path):
    ticks = iter(range(10**9))
    said = []
    search(
        arguments(table, tmp_path / "s", time_budget=3, max_trials=50),
        announce=said.append,
        clock=lambda: float(next(ticks)),
    )
    lines = [line for line in said if line.split()[0].isdigit()]
    assert "*" in lines[0]
    assert len(lines) == 2
    assert "out of time" in lines[-1]
    assert (tmp_path / "s" / "best" / "weights.npz").exists()


def test_a_search_with_other_options_is_refused(table, tmp_path):
    output = tmp_path / "s"
    search(arguments(table, output, max_trials=1), announce=lambda _: None)
    for other in ({"fixed": frozenset()}, {"folds": 2}):
        with pytest.raises(SearchError, match="with other options"):
            search(arguments(table, output, **other), announce=lambda _: None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("")
    with pytest.raises(SearchError, match="holds no search"):
        search(arguments(table, tmp_path / "mine"), announce=lambda _: None)


def test_a_table_that_cannot_be_used_leaves_no_directory(tmp_path):
    with pytest.raises(DataError, match="no file matches"):
        search(arguments(tmp_path / "none.csv", tmp_path / "s"), announce=lambda _: None)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("event", "condition"), [(1, 0), (1, 5), (3, 2)])
@pytest.mark.parametrize("rows", [500, 50_000, 5_000_000])
def test_the_defaults_are_in_the_space_and_mean_themselves(event, condition, rows):
    config = RunConfig(
        data=DataConfig(data=("a.csv",), event=tuple("xyz"[:event]), condition=tuple("abcde"[:condition])),
        flow=FlowConfig(event_size=event, condition_size=condition),
        training=TrainingConfig(),
    )
    sized = size_all(config.flow, config.training, rows)
    values, distributions = defaults(*sized), space(*sized)
    assert values.keys() == distributions.keys()
    first, *changed = first_values(*sized)
    assert first == values
    for trial in (first, *changed):
        for name, distribution in distributions.items():
            assert distribution._contains(distribution.to_internal_repr(trial[name])), (name, trial[name])
    assert all(sum(trial[name] != values[name] for name in values) == 1 for trial in changed)
    configured = configure(config, values)
    assert configured.training.max_epochs == values["max_epochs"]
    assert configured.flow.num_layers == values["num_layers"]
    if condition:
        assert configured.flow.condition_units == (values["condition_width"],) * values["condition_depth"]


def test_options_that_were_given_are_not_searched():
    argv = [
        "--data",
        "a.csv",
        "--event",
        "y",
        "--condition",
        "c",
        "--output",
        "s",
        "--condition_units",
        "8",
        "--num_bins",
    ]
    parsed = parse_search([*argv, "4"])
    searched = space(*size_all(parsed.config.flow, parsed.config.training, 1_000), parsed.fixed)
    assert not {"condition_width", "condition_depth", "num_bins"} & set(searched)
    assert {"learning_rate", "dropout"} <= set(searched)
    assert configure(parsed.config, {"learning_rate": 0.01}).flow.condition_units == (8,)


def test_values_that_make_no_sense_are_refused():
    argv = ["--data", "a.csv", "--event", "y", "--output", "s"]
    with pytest.raises(ConfigError, match="time_budget is 0"):
        parse_search([*argv, "--time_budget", "0"])
    with pytest.raises(ConfigError, match="max_trials is 0"):
        parse_search([*argv, "--max_trials", "0"])
    with pytest.raises(ConfigError, match="folds is 0"):
        parse_search([*argv, "--folds", "0"])
    with pytest.raises(ConfigError, match="--input is missing"):
        parse_search(["--output", "s"])


def test_help_answers_without_tensorflow_or_optuna():
    code = (
        "import sys; sys.argv = ['s', '--help']\nfrom maf.search.__main__ import main\ntry: main()\n"
        "except SystemExit: sys.exit(bool({'tensorflow', 'optuna', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--time_budget" in result.stdout


def test_search_json_says_what_the_trials_have_in_common(table, tmp_path):
    search(arguments(table, tmp_path / "s", max_trials=1), announce=lambda _: None)
    stored = json.loads((tmp_path / "s" / "search.json").read_text())
    assert stored["config"]["flow"]["condition_units"] == [8]
    assert stored["fixed"] == sorted(FIXED)
