# The two commands that a newcomer types are `make run` and `make test`.
# Both do all the set-up: system packages where they may, the virtual environment, the C extension.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Rebuilt when the build's own files or the C change, so that an old extension is never tested.
SOURCES := pyproject.toml CMakeLists.txt tools/build_cffi.py $(wildcard csrc/*)
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test check lint types bench notebook clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

run: $(VENV)/.installed ## Set up, then recommend for 64 workers and 4,096 connections
	@$(BIN)/memplan recommend --workers 64 --conns 4096

test: $(VENV)/.tested check ## Set up, then run all checks and all tests
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

check: lint types ## Check style and types

lint: $(VENV)/.tested ## Check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.tested ## Check types
	@$(BIN)/mypy

bench: $(VENV)/.tested ## Run the benchmarks; each prints ratios against a named peer
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

notebook: $(VENV)/.tested ## Run the notebook from its first cell to its last, in place
	@$(BIN)/python tools/run_notebook.py notebooks/*.ipynb

# The package with what it needs to run.
$(VENV)/.installed: $(SOURCES) tools/setup_system.sh
	@tools/setup_system.sh build $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing memplan into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# The same with what the tests need; the programs that consume our formats are asked for, not forced.
$(VENV)/.tested: $(VENV)/.installed
	@tools/setup_system.sh test $(PYTHON)
	@echo "Installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

clean: ## Remove the virtual environment and everything built
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
