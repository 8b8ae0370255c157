# `make` alone prints the recipes.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The release that the tests run with. Where a CPU or ROCm build is wanted, install it first: it stays.
TORCH  ?= torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help llm vllm demo test lint types check clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("resolver needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=python3.12, say.") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

llm: $(STAMP) ## install what the language-model judge needs as well
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,llm]'

vllm: ## make the environment that vLLM runs in, on a CPU (.venv-vllm; Python 3.11)
	@$(PYTHON) llm_classifier/serving/install.py --out $(VENV)-vllm --torch '$(TORCH)'

demo: $(STAMP) ## install, then run the whole way on the bundled sample
	$(BIN)/resolver demo

test: $(STAMP) ## install, then run the test suite that CI runs
	$(BIN)/python -m pytest --numprocesses auto

lint: $(STAMP) ## ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP) ## mypy
	$(BIN)/mypy

check: lint types test ## all of it

clean: ## remove the environment and caches
	rm -rf $(VENV) $(VENV)-vllm build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
