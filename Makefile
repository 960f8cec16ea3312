# leadstream: `make` lists the targets. Only `system-deps` changes anything outside of this folder.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data/olist
ARGS ?=
REQUIRE_ALL ?= 0
export REQUIRE_ALL

# The environment is set up again when what it is made of has changed: contents, not times.
STAMP := $(VENV)/.ready-$(shell cat requirements/dev.txt pyproject.toml | cksum | tr ' ' '-')
# Tests on all cores, in the order of the folders: those on Kafka (one process runs them all) and the laws, which take
# long one by one, before the quick ones (docs/decisions/0015-tests-on-all-cores.md).
SPREAD := -n logical --no-loadscope-reorder
# Commands of Debian packages that tests use, and the packages.
TOOLS := kcat prometheus promtool
DEBIAN := kcat prometheus
LOCK := --generate-hashes --strip-extras --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links --no-header --quiet $(if $(UPGRADE),--upgrade)

.PHONY: help setup demo test lint bench olist chaos nightly mutants system-deps kafka docs lock clean

help: ## this list
	@printf 'leadstream\n\n'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'
	@printf '\nOptions: ARGS="-k name" for pytest and the programs, DATA=folder for olist, REQUIRE_ALL=1 for test.\n'

setup: $(STAMP) ## create .venv from the locked, hashed requirements

$(STAMP):
	@set -e; \
	found=; \
	for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'error: Python 3.11 or newer was not found. Install it, or name it: make setup PYTHON=/path/to/python3' >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "error: $$found cannot make virtual environments. Debian: apt-get install python3-venv" >&2; exit 1; \
	fi; \
	if [ -x $(BIN)/python ]; then "$(BIN)/python" -m streams.local_kafka check; \
	else "$$found" -m streams.local_kafka check; "$$found" -m venv $(VENV); fi; \
	echo 'setup: installing the locked requirements ...'; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	rm -f $(VENV)/.ready-*; touch $@

kafka: setup ## fetch Apache Kafka's jars (once, about 45 MB)
	@$(BIN)/python -m streams.local_kafka fetch

demo: kafka ## broker, two workers, simulated traffic and a live view; Ctrl-C ends it
	@$(BIN)/leadstream demo $(ARGS)

test: kafka ## all tests but the slow ones, on a real Kafka
	HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-ci} $(BIN)/python -m pytest -m 'not slow' $(SPREAD) $(ARGS)

lint: setup ## formatting, lint, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: kafka ## throughput on a real Kafka
	$(BIN)/python -m bench $(ARGS)

olist: setup ## real leads through import and replay, compared with a count of its own: DATA=folder
	@$(BIN)/leadstream olist --data '$(DATA)' $(ARGS)

chaos: kafka ## kill workers and brokers for a while; nothing may be lost or repeated
	$(BIN)/python -m pytest -m chaos $(ARGS)

nightly: kafka ## everything, the slow tests and 10,000 examples of each law too
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest $(ARGS)

mutants: setup ## break the fold in many ways: each must be noticed by every test that is named for it
	$(BIN)/python -m tests.mutants $(ARGS)

system-deps: ## install the Debian packages that some tests use (kcat, prometheus)
	@set -e; missing=; \
	for tool in $(TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -z "$$missing" ]; then echo 'system-deps: all there ($(TOOLS))'; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
	  echo "error: missing:$$missing; this system has no apt-get, so install them its own way" >&2; exit 1; \
	fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi; \
	$$sudo apt-get update; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(DEBIAN)

docs: setup ## write the reference pages anew (docs/reference/)
	$(BIN)/python docs/build.py

lock: setup ## write requirements/*.txt anew; UPGRADE=1 takes newer versions
	@set -e; [ -x .cache/lock/bin/pip-compile ] || { $(BIN)/python -m venv .cache/lock; .cache/lock/bin/pip install --quiet pip-tools==7.6.2; }; \
	cd requirements; for name in run build dev; do ../.cache/lock/bin/pip-compile $(LOCK) -o $$name.txt $$name.in; done

clean: ## remove what was built or cached, except .venv and Kafka's jars
	rm -rf build dist run .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .leadstream
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
