# What a checkout can do. Everything runs in .venv, made from the locked, hashed requirements; a second call of
# any target finds its stamp and starts at once.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench chaos lock clean

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
UV ?= uv
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-virtualenv

help: ## say what there is
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo ## send real trips through everything; ARGS="--trips 200 --exit --services"
	@$(BIN)/python -m examples.ride.demo $(ARGS)

test: $(VENV)/.dev ## run the tests on real RabbitMQ, PostgreSQL and Redis; ARGS="tests/bus -k retry"
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev ## check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.dev ## measure, beside the peers; ARGS=--short for a quick look
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: $(VENV)/.dev ## kill and starve everything in turn under load; ARGS=--short, ARGS="--only leader"
	@$(BIN)/python -m tests.chaos $(ARGS)

lock: ## write both requirement files anew from pyproject.toml (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv (make lock UV=/path/to/uv)" >&2; exit 1; }
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links \
		--extra dev --extra demo --extra build -o requirements-dev.lock
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links \
		--extra demo --extra build -c requirements-dev.lock -o requirements.lock

clean: ## throw away .venv, caches and the demo's data
	@rm -rf $(VENV) .antiphon .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Antiphon needs Python 3.11 or newer, and no python3 in PATH is:" \
		"install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..." >&2
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) can't make a virtual environment" \
		"(on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.made requirements.lock pyproject.toml
	@echo "Installing what requirements.lock says ..." >&2
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.made requirements-dev.lock pyproject.toml
	@echo "Installing what requirements-dev.lock says ..." >&2
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
