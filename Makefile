# The short verbs of daily work. Each sets up what it needs first; see bootstrap.py.

PYTHON ?= python3
WORKERS ?= 2
SETUP = @$(PYTHON) bootstrap.py
.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint format bench reproduce clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-9s %s\n", $$1, $$2}'

demo: ## Set up, run the main job (the case study in the gift shop), say where its results are
	$(SETUP) -- python -m perennial.experiments.demo $(ARGS)

test: ## Set up, run the tests (some five minutes on two idle cores); ARGS="-k name" narrows them
	$(SETUP) --extras dev -- python -m pytest -n $(WORKERS) $(ARGS)

test-all: ## The tests with the slow ones as well
	$(SETUP) --extras dev -- python -m pytest -n $(WORKERS) -m "slow or not slow" $(ARGS)

lint: ## Style, format and types: ruff and mypy
	$(SETUP) --extras dev -- ruff check .
	$(SETUP) --extras dev -- ruff format --check .
	$(SETUP) --extras dev -- env MYPYPATH=.mypy_path mypy -p perennial.envs -p perennial.agents -p perennial.experiments -p perennial.conf

format: ## Rewrite the sources in the project's format
	$(SETUP) --extras dev -- ruff check --fix-only --quiet .
	$(SETUP) --extras dev -- ruff format .

bench: ## Decisions a second, import and first-step times
	$(SETUP) -- python -m perennial.experiments.bench $(ARGS)

reproduce: ## Our algorithms beside published and exactly computed numbers (under five minutes); ARGS="UCB1" narrows it
	$(SETUP) -- python -m perennial.experiments.published.pack $(ARGS)

clean: ## Remove the environment and the caches; results in runs/ stay
	rm -rf .venv .mypy_path .mypy_cache .pytest_cache .ruff_cache *.egg-info build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
