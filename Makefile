# Everything starts from python3 alone: `make demo` shows the platform working, `make test` proves it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv --system-certs --no-progress
DEMO_FOR ?=
# One more than the two cores of a small machine: a third of the tests wait for a disk, a process or a clock.
PYTEST_WORKERS ?= 3

# Cached bytecode halves the start of every Dagster process.
unexport PYTHONDONTWRITEBYTECODE
# An exporter of a caller's virtual environment must not leak in.
unexport VIRTUAL_ENV
unexport PYTHONPATH

.PHONY: help setup demo test check lint types floors manifests policies terraform lambda test-long test-servers test-faults lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Create .venv with the locked versions and compiled bytecode

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else f"Python 3.11, 3.12 or 3.13 is needed; {sys.executable} is {sys.version.split()[0]}. Name another with: make PYTHON=python3.12 setup")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 has no venv module (Debian: the package python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/uv || { $(BIN)/python deployments/docker/locked.py requirements.lock <(echo uv) >$(VENV)/uv.txt \
	  && $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt; }
	@echo "Installing the locked packages into $(VENV) ..."
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q exchange_platform assets sensors resources deployments
	@touch $@

demo: setup ## Start everything with the simulated exchange (DEMO_FOR=120 ends by itself)
	@$(BIN)/exchange-platform up $(if $(DEMO_FOR),--for $(DEMO_FOR))

# A file's tests stay together: what its fixtures make for all of them is made once.
test: setup ## The fast suite
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder

check: lint types floors manifests terraform policies test-servers test-faults ## Style, types, floors, manifests, infrastructure, the long tests, the suites against servers, the fault tests

lint: setup ## Style, and that what is imported is declared
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/deptry .

types: setup ## Strict types
	@$(BIN)/mypy

floors: setup ## A line may only reach down
	@$(BIN)/lint-imports

manifests: setup ## Dockerfile, docker-compose.yml and workflows against their schemas and good style
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

policies: setup ## The infrastructure against checkov's rules
	@deployments/terraform/check-policies $(UV)

terraform: ## The infrastructure's format and validity (skipped, saying so, without terraform and its provider)
	@deployments/terraform/check

lambda: setup ## The API's zip for AWS Lambda, the same bytes each time: dist/api.zip
	@$(BIN)/python -m deployments.lambda_zip

test-long: setup ## The tests that take more than some seconds, alone (test-servers has them, too)
	@$(BIN)/python -m pytest -m "long and not servers and not faults" -n $(PYTEST_WORKERS) --dist worksteal

# What waits for a server, a browser or Terraform leaves a core to what works: the long tests run among them. A file's tests stay together.
test-servers: setup ## The long tests, and the suites against servers and in a browser (skipped, saying so, where there is none)
	@$(BIN)/python -m pytest -m "(long or servers) and not faults and not alone" -n $(PYTEST_WORKERS) --dist loadfile -rs
	@$(BIN)/python -m pytest -m "servers and alone and not faults" -rs

# Searches for a counterexample and kills that measure no time mind no neighbour. What measures, or loads the machine, runs alone.
test-faults: setup ## Long fault tests: kills, outages, a flood of damaged records
	@$(BIN)/python -m pytest -m "faults and not alone" -n 2 --dist worksteal -rs --durations=5
	@$(BIN)/python -m pytest -m "faults and alone" -rs --durations=15

lock: ## Resolve the newest versions that pyproject.toml allows into requirements.lock
	@$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header pyproject.toml -o requirements.lock

clean: ## Remove the virtual environment and caches (never data)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
