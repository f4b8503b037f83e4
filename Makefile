# Every target sets itself up: the first call makes .venv from requirements.lock.
# Python 3.10 to 3.13; name another with: make PYTHON=/path/to/python3.11

FITS := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
PROGRAM := $(VENV)/bin/maf-serving
READY := $(VENV)/ready
export MPLCONFIGDIR := $(abspath $(VENV))/matplotlib

.DEFAULT_GOAL := help
.PHONY: help run train report search export score sample evaluate serve docs test test-faults test-flink test-spark test-prism \
    test-older-tensorflow test-mlflow dataflow-template bench bench-quick bench-latency bench-quality check format clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-17s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { \
	    echo 'error: found no Python 3.10 to 3.13; install one, or name it: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY) ## The whole chain on generated data: train, export, verify, score, report
	rm -rf runs/demo out/demo
	$(RUN) -m examples.demo_data --output data/demo
	$(PROGRAM) train --input data/demo/train.parquet --event x0,x1 --condition c0 --run runs/demo \
	    --max_epochs 14 --learning_rate_schedule cosine
	$(PROGRAM) export --run runs/demo --model models/demo
	$(PROGRAM) score --model models/demo --input data/demo/held_out.parquet --keep id --output out/demo/scores
	@echo
	$(RUN) -m examples.demo_report

DATA ?= data/demo/train.parquet
EVENT ?= x0,x1
CONDITION ?= c0
NAME ?= demo

train: $(READY) ## Train on DATA with columns EVENT and CONDITION into runs/NAME
	$(PROGRAM) train --input $(DATA) --event $(EVENT) --condition $(CONDITION) --run runs/$(NAME)

report: $(READY) ## Report of runs/NAME as one page: out/NAME/report.html
	$(PROGRAM) report --run runs/$(NAME) --output out/$(NAME)/report.html

search: $(READY) ## Search configurations on DATA for half an hour into search/NAME
	$(PROGRAM) search --input $(DATA) --event $(EVENT) --condition $(CONDITION) --output search/$(NAME)

export: $(READY) ## Export runs/NAME as the next version of models/NAME
	$(PROGRAM) export --run runs/$(NAME) --model models/$(NAME)

INPUT ?= data/demo/held_out.parquet

score: $(READY) ## Score INPUT with models/NAME into out/NAME/scores
	$(PROGRAM) score --model models/$(NAME) --input '$(INPUT)' --output out/$(NAME)/scores

sample: $(READY) ## Draw 10 samples for each row of INPUT from models/NAME into out/NAME/samples
	$(PROGRAM) sample --model models/$(NAME) --input '$(INPUT)' --num_samples 10 --seed 0 --output out/$(NAME)/samples

evaluate: $(READY) ## Evaluate models/NAME on INPUT: out/NAME/report/report.html
	$(PROGRAM) evaluate --model models/$(NAME) --input '$(INPUT)' --output out/$(NAME)/report

serve: $(READY) ## Serve models/NAME over gRPC (8500) and REST (8501)
	$(PROGRAM) serve --model models/$(NAME) --model_name $(NAME)

docs: $(READY) ## API reference from the docstrings: out/reference/index.html
	$(RUN) docs/make_reference.py --output out/reference

test: $(READY) ## Run all tests
	$(RUN) -m pytest -n 2 --dist worksteal

test-faults: $(READY) ## Kills, full disks, damaged files, hostile traffic: ten minutes (FAULTS_MINUTES=1 of traffic)
	$(RUN) -m pytest --timeout 900 -m faults -n 2 --dist loadfile

test-flink: $(READY) ## Score on a local Flink; needs Java and Beam's job server (FLINK_JOB_SERVER_JAR)
	$(RUN) -m pytest --timeout 900 -m flink tests/beam_jobs/portable

test-spark: $(READY) ## Score 200,000 rows on a Spark of two executors, one of which is killed; needs Java 17; installs pyspark
	$(RUN) -m pip install --quiet --disable-pip-version-check -c requirements.lock 'pyspark>=4.0,<5'
	SPARK_ROWS=200000 $(RUN) -m pytest --timeout 900 -m spark tests/beam_jobs/test_spark.py

export PRISM ?= $(abspath $(VENV))/prism/prism
BEAM_VERSION = $(shell sed -n 's/^apache-beam==//p' requirements.lock)

test-prism: $(READY) ## Score on Prism, Beam's portable runner; needs Go the first time, or PRISM=FILE
	@test -x '$(PRISM)' || { echo 'building Prism, some minutes'; \
	    GOBIN='$(dir $(PRISM))' go install github.com/apache/beam/sdks/v2/go/cmd/prism@v$(BEAM_VERSION); }
	$(RUN) -m pytest --timeout 900 -m prism tests/beam_jobs/portable

OLDER := $(VENV)/tensorflow-2.19

test-older-tensorflow: $(READY) ## Exports in TensorFlow 2.19, as an older server has it; installs it beside
	@test -x $(OLDER)/bin/python || $(RUN) -m venv $(OLDER)
	$(OLDER)/bin/python -m pip install --quiet --disable-pip-version-check 'tensorflow==2.19.*' 'tensorflow-serving-api==2.19.*'
	OLDER_TENSORFLOW=$(abspath $(OLDER))/bin/python $(RUN) -m pytest --timeout 900 -m older_tensorflow tests/export

MLFLOW := $(VENV)/mlflow
PACKAGES = $(shell $(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

test-mlflow: $(READY) ## Log a version to MLflow and load it back; installs mlflow-skinny beside
	@test -x $(MLFLOW)/bin/python || $(RUN) -m venv $(MLFLOW)
	echo '$(PACKAGES)' > $$($(MLFLOW)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth
	$(MLFLOW)/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.lock 'mlflow-skinny>=3,<4'
	$(MLFLOW)/bin/python -m pytest --timeout 900 tests/docs/test_mlflow.py

IMAGE ?= maf-serving:dev

dataflow-template: $(READY) ## Write the flex template of score with IMAGE to out/dataflow/score.json
	$(RUN) deploy/dataflow/make_template.py --image $(IMAGE) --output out/dataflow/score.json

PEERS := $(foreach python,$(PEERS_PYTHON),--peers_python $(python))

bench: $(READY) ## Beside TFP, FlowJAX, zuko and bare loops in one run: docs/performance.md (PEERS_PYTHON=PATH)
	$(RUN) -m benchmarks $(PEERS) --page docs/performance.md --json docs/performance.json --plot docs/performance.svg
	$(RUN) -m benchmarks.answers

bench-quick: $(READY) ## The core of bench in a few minutes
	$(RUN) -m benchmarks --suite quick $(PEERS)

TABLES ?= data/uci

bench-latency: $(READY) ## What one call of a few rows costs over an empty model, beside TFP
	$(RUN) -m benchmarks.latency

bench-quality: $(READY) ## Test NLL on published tables (TABLES=DIR) and known densities, posteriors beside exact ones, a wide table
	$(RUN) -m benchmarks.quality --tables $(TABLES)
	$(RUN) -m benchmarks.quality --densities
	$(RUN) -m benchmarks.quality --sbi --plot docs
	$(RUN) -m benchmarks.quality --wide

check: $(READY) ## Format, lint, imports, types, tests: the gate before every commit
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy
	$(RUN) -m pytest -n 2 --dist worksteal

format: $(READY) ## Format and fix what can be fixed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## Remove .venv and everything the demo made
	rm -rf $(VENV) runs/demo models/demo data/demo out/demo
