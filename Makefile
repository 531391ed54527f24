# SPDX-License-Identifier: Apache-2.0
#
# The whole interface of the project. `make demo` and `make test` set up what
# they need by themselves and are quick the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := build/stamps
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format gen check-gen engine ta board bench \
	fuzz fuzz-nightly coverage test-endurance test-models test-quick \
	test-exhaustive test-attacks test-fresh test-provider-load clean lock

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

# ---- setting up ----

$(STAMPS)/system: tools/system_packages.py
	@mkdir -p $(STAMPS)
	@echo "== system packages"
	@$(PYTHON) tools/system_packages.py
	@touch $@

$(STAMPS)/test-system: tools/system_packages.py
	@mkdir -p $(STAMPS)
	@echo "== system packages for tests"
	@$(PYTHON) tools/system_packages.py --tests
	@touch $@

$(STAMPS)/venv: requirements.lock pyproject.toml $(STAMPS)/system
	@echo "== Python environment ($(VENV), versions and hashes locked)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
		--require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
		--no-deps --no-build-isolation -e .
	@touch $@

setup: $(STAMPS)/venv engine ta board ## prepare everything; leaves .venv/bin/undercroft
	@echo "ready: $(BIN)/undercroft --help"

# ---- building ----

engine: $(STAMPS)/venv ## the engine for this host and for arm64
	@echo "== engine"
	@$(BIN)/python -m undercroft._build host aarch64

ta: $(STAMPS)/venv ## the Trusted Application for the emulated board
	@echo "== Trusted Application"
	@$(BIN)/python -m undercroft._build ta

board: $(STAMPS)/venv ta engine ## assemble the emulated board's images
	@echo "== emulated board"
	@$(BIN)/undercroft board build

# ---- using ----

demo: setup ## a real model and a real photo in the secure world
	@$(BIN)/undercroft demo

bench: setup ## the benchmark table, by the board's instruction clock; hours, goes on when interrupted
	@$(BIN)/undercroft bench --model all --budget 12MiB --budget 7MiB --budget 4MiB \
		--suite aes-256-gcm --suite aegis-128l

# ---- checking ----

lint: $(STAMPS)/venv check-gen ## formatting, types, C style
	@echo "== lint"
	@$(BIN)/ruff format --check -q src tests spec tools benchmarks vectors
	@$(BIN)/ruff check -q src tests spec tools benchmarks vectors
	@$(BIN)/mypy --no-error-summary
	@git ls-files '*.c' '*.h' | grep -v uc_spec.h | \
		xargs $(BIN)/clang-format --dry-run -Werror
	@sh tools/check_tree.sh

format: $(STAMPS)/venv ## format Python and C
	@$(BIN)/ruff format -q src tests spec tools benchmarks vectors
	@$(BIN)/ruff check -q --fix src tests spec tools benchmarks vectors
	@git ls-files '*.c' '*.h' | grep -v uc_spec.h | xargs $(BIN)/clang-format -i

gen: $(STAMPS)/venv ## write the copies of spec/constants.toml
	@$(BIN)/python spec/gen.py

check-gen: $(STAMPS)/venv ## fail when a generated file is stale
	@$(BIN)/python spec/gen.py --check

test: $(STAMPS)/test-system setup lint ## everything, from types to the board
	@$(BIN)/python tools/run_tests.py

test-exhaustive: $(STAMPS)/test-system $(STAMPS)/venv engine ## all 255 other values of each byte of header, license, update and evidence
	@$(BIN)/python -m pytest -m exhaustive

test-attacks: $(STAMPS)/test-system setup ## every combination of the attacks, where make test takes a sample; an hour
	@$(BIN)/python -m pytest tests/attacks -m "not exhaustive"

test-provider-load: $(STAMPS)/test-system $(STAMPS)/venv ## 100,000 licenses from 8 clients, the database killed meanwhile; and in bulk; records results
	@UNDERCROFT_RECORD=benchmarks/results/license-service.json \
		$(BIN)/python -m pytest -m load tests/provider/test_load.py
	@$(BIN)/python benchmarks/bulk_licenses.py --record

test-endurance: $(STAMPS)/venv engine ## 10,000 inferences in a row; records what memory they needed
	@$(BIN)/python -m pytest tests/engine/test_endurance.py -m exhaustive

coverage: $(STAMPS)/test-system $(STAMPS)/venv ## which lines of engine and TA the tests run; ten minutes, records results
	@$(BIN)/python tools/coverage.py

test-quick: $(STAMPS)/test-system $(STAMPS)/venv engine ## without the board
	@$(BIN)/python -m pytest -m "not board and not slow and not exhaustive and not zoo and not load and not attacks"

test-fresh: ## make demo twice and make test on a fresh Debian (root and debootstrap)
	@tools/fresh_machine.sh demo demo test

test-models: $(STAMPS)/test-system setup ## every known network in every budget, host and board; records results
	@$(BIN)/python -m pytest -m zoo
	@host=0; $(BIN)/python benchmarks/models.py --device host: || host=1; \
		$(BIN)/python benchmarks/models.py --device board: && test $$host = 0

fuzz: $(STAMPS)/test-system $(STAMPS)/venv ## fuzz the C parsers and the program checker, SECONDS each
	@$(BIN)/python -m undercroft._build fuzz
	@$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

fuzz-nightly: $(STAMPS)/test-system $(STAMPS)/venv ## ten million messages to each C parser, as far as ten hours go; records results
	@$(BIN)/python -m undercroft._build fuzz
	@$(BIN)/python tests/fuzz/run.py --executions 10000000 --seconds 36000 \
		--record benchmarks/results/fuzzing.json

lock: ## renew requirements.lock (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--group dev pyproject.toml -o requirements.lock -q

clean: ## remove build results (the board's cache stays)
	@test ! -x $(BIN)/undercroft || $(BIN)/undercroft board down --all || true
	rm -rf build .mypy_cache .ruff_cache .pytest_cache
