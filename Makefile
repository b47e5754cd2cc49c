# demo · test · test-long · check · bench · load · fuzz: each from nothing on a fresh machine (Python 3.11 to 3.13, no system package).
# PYTHON picks the interpreter, VENV the environment's folder, ARGS goes to pytest, the benchmark or the fuzzer.

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
JOBS   ?= 2

SHELL      := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-long check format bench load fuzz clean

# A stamp's name says which interpreter and which pins made the environment: another of either makes it anew.
# Empty when the interpreter is missing or too old; the recipes below say so.
LANGUAGE := $(shell $(PYTHON) -c 'import sys; v = sys.version_info; print("%s-%d.%d.%d" % (sys.implementation.name, *v[:3])) if v >= (3, 11) else None' 2>/dev/null)
PINS     := $(shell cat pyproject.toml constraints/*.txt | cksum | cut -d' ' -f1)
DEMO     := $(VENV)/.demo-$(LANGUAGE)-$(PINS)
DEV      := $(VENV)/.dev-$(LANGUAGE)-$(PINS)
BIN      := $(VENV)/bin
INSTALL   = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/base.txt -c constraints/bridge.txt -c constraints/dev.txt

help:
	@sed -n '1,2p' Makefile

# Stamps of other pins go first: an environment has one state, and a broken installation none.
# The interpreter's environment; an environment of another interpreter is thrown away.
$(VENV)/.python-$(LANGUAGE):
	@test -n "$(LANGUAGE)" || { echo "$(PYTHON) is not a Python of at least 3.11; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@echo "making $(VENV) with $(LANGUAGE)"
	@$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@touch $@

$(DEMO): | $(VENV)/.python-$(LANGUAGE)
	@echo "installing what the demo needs"
	@rm -f $(VENV)/.demo-* $(VENV)/.dev-*
	@$(INSTALL) -e '.[demo]'
	@touch $@

$(DEV): | $(VENV)/.python-$(LANGUAGE)
	@echo "installing what the tests need"
	@rm -f $(VENV)/.demo-* $(VENV)/.dev-*
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(DEMO)

# A development environment serves the demo too: its recipe leaves both stamps.
demo: | $(DEMO)
	@$(BIN)/ocs demo

test: | $(DEV)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-long: | $(DEV)
	@$(BIN)/python -m pytest -m "long or slow" --timeout 1800 $(ARGS)

check: | $(DEV)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/house

format: | $(DEV)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Writes loadtests/RESULTS.md and the figures as JSON beside it.
bench: | $(DEV)
	@$(BIN)/python -m loadtests.bench $(ARGS)

# Top-up channels for half a minute; ARGS='--web-port 8089' shows locust's page instead, and serves until Ctrl-C.
load: | $(DEV)
	@$(BIN)/python -m loadtests.load $(ARGS)

# ARGS='600 wire' fuzzes one target for ten minutes; all in turn for a minute without. What it finds stays in .fuzz.
fuzz: | $(DEV)
	@$(BIN)/python -m tests.fuzz $(ARGS)

clean:
	@rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
