# `make` alone prints the recipes.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The release that the tests run with. Where a CPU or ROCm build is wanted, install it first: it stays.
TORCH  ?= torch==2.13.0
# What the environment holds, each with its hash. `make LOCK= test` takes the newest that pyproject.toml allows.
LOCK   ?= requirements-dev.txt
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: format help llm vllm demo test lint types docs check lock wheel clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit("resolver needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=python3.12, say.") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV) ...'
ifdef LOCK
	@$(PIP) install --require-hashes --requirement $(LOCK)
	@$(PIP) install --no-deps --no-build-isolation --editable .
else
	@$(PIP) install --upgrade --upgrade-strategy eager --editable '.[dev]'
endif
	@touch $@

llm: $(STAMP) ## install what the language-model judge needs as well
	@$(PIP) install '$(TORCH)'
	@$(PIP) install --editable '.[dev,llm,s3]'

vllm: ## make the environment that vLLM runs in, on a CPU (.venv-vllm; Python 3.11)
	@$(PYTHON) llm_classifier/serving/install.py --out $(VENV)-vllm --torch '$(TORCH)'

demo: $(STAMP) ## install, then run the whole way on the bundled sample
	$(BIN)/resolver demo

test: $(STAMP) ## install, then run the test suite that CI runs
	$(BIN)/python -m pytest --numprocesses auto

lint: $(STAMP) ## ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(STAMP) ## ruff: put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(STAMP) ## mypy
	$(BIN)/mypy

docs: $(STAMP) ## make docs/tables.md, settings.md, commands.md and the schemas anew, and the picture where Chromium is
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/picture.py

check: lint types test ## all of it

wheel: $(STAMP) ## build the wheel and the source archive into dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build

lock: $(STAMP) ## pin the newest of what pyproject.toml allows in requirements-dev.txt
	@$(PIP) install uv
	@$(BIN)/uv pip compile --quiet --no-config --upgrade --universal --python-version 3.11 --fork-strategy fewest \
		--default-index https://pypi.org/simple --generate-hashes --custom-compile-command 'make lock' \
		--extra dev --output-file requirements-dev.txt pyproject.toml

clean: ## remove the environment and caches
	rm -rf $(VENV) $(VENV)-vllm build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
