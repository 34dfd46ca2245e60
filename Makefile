# attestlog: `make demo` shows it, `make test` checks it. Either needs only make and Python 3.11 or later
# (with venv), and sets up .venv by itself on first use.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# An interpreter to build .venv with; `make PYTHON=/path/to/python test` chooses one, and
# `make VENV=.venv-3.13 PYTHON=/path/to/python3.13 test` has its own environment beside the usual one.
PYTHON ?=
VENV ?= .venv
PYTHONS = python3 python3.14 python3.13 python3.12 python3.11 python
PYTEST_ARGS ?=
# The fuzzer: used by nothing else, so it is in no lock file.
ATHERIS = atheris==3.0.0
# It looks over the explorer's pages, in a folder of its own.
AXE = axe-core@4.14.1
# What builds the native core, in an environment of its own.
MATURIN = maturin==1.16.0

BIN = $(VENV)/bin
# Tests are handed out to one worker a core; who has none left takes from another.
# TEST_SEED: the order of the tests and the numbers they draw; without it another one each time.
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist worksteal $(if $(TEST_SEED),--randomly-seed=$(TEST_SEED))
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
CODE = src tests $(wildcard bench examples)

# The resolver behind `make lock`; it stays out of .venv.
UV_VERSION = 0.13.9

.PHONY: help demo test test-all native native-lint native-fuzz services interop lint types format faults chaos repeat failover simulate \
	fuzz agree mutants bench bench-formats \
	bench-explorer bench-proofs bench-publish bench-signers bench-replication bench-hosts bench-serve growth soak nightly lock clean

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 23

demo: $(VENV)/.installed ## two minutes: write a log, verify it, tamper with it, see it caught
	@$(BIN)/attestlog demo

test: $(VENV)/.installed-dev ## run the tests but the slow ones, on every core (PYTEST_ARGS="-k name -x" to choose)
	@$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-all: $(VENV)/.installed-dev ## run all tests, as CI does
	@$(PYTEST) $(PYTEST_ARGS)

# cargo itself: its lock file, like all it builds, stays out of the tree that is committed.
CARGO = CARGO_TARGET_DIR=build/native cargo
MANIFEST = --manifest-path native/Cargo.toml

native: $(VENV)/.installed ## build the native core and install it into .venv (needs cargo): verifying takes a fifth of the time
	@command -v cargo >/dev/null || { echo "cargo builds the native core, and is not here" >&2; exit 1; }
	@test -e .venv-native/.installed || { $(BIN)/python -m venv --clear .venv-native \
	  && .venv-native/bin/python -m pip install --quiet --disable-pip-version-check $(MATURIN) && touch .venv-native/.installed; }
	@rm -rf build/wheels
	@.venv-native/bin/maturin build --quiet --release $(MANIFEST) --target-dir build/native --out build/wheels \
	  --interpreter $(BIN)/python
	@$(PIP_INSTALL) --no-deps --force-reinstall build/wheels/attestlog_native-*.whl
	@$(BIN)/attestlog --version

native-lint: ## the crate's own tests, clippy and rustfmt
	cargo fmt $(MANIFEST) --check
	$(CARGO) clippy $(MANIFEST) --all-targets -- --deny warnings
	$(CARGO) test $(MANIFEST)

NATIVE_LINES ?= 2000000

native-fuzz: $(VENV)/.installed-dev ## the native core against the reference (NATIVE_LINES=2000000, a quarter of an hour)
	@ATTESTLOG_NATIVE=1 ATTESTLOG_NATIVE_LINES=$(NATIVE_LINES) ATTESTLOG_NATIVE_SEED=$$(date +%j) \
	  $(PYTEST) tests/native -m slow $(PYTEST_ARGS)

services: .venv-services/.installed ## servers and tools that tests ask: emulators of AWS, S3 stores, OpenBao, a fuzzer of APIs (640 MB)

interop: $(VENV)/.installed-dev ## other people's verifiers and readers of exports, for tests that ask them: Go's and PyPI's
	@$(BIN)/python -m tests.interop.install

lint: $(VENV)/.installed-dev ## ruff: rules and formatting
	$(BIN)/python -m ruff check $(CODE)
	$(BIN)/python -m ruff format --check $(CODE)

types: $(VENV)/.installed-dev ## mypy, strict
	$(BIN)/python -m mypy $(CODE)

format: $(VENV)/.installed-dev ## let ruff format and fix what it can
	$(BIN)/python -m ruff check --fix $(CODE)
	$(BIN)/python -m ruff format $(CODE)

faults: $(VENV)/.installed-dev ## the long fault campaign: power cuts, kills, failing calls, changed bytes (a quarter of an hour)
	@ATTESTLOG_FAULT_SEEDS=20 ATTESTLOG_FAULT_ROUNDS=40 $(PYTEST) tests/fault tests/server/test_log_service_kill.py $(PYTEST_ARGS)

CHAOS_SECONDS ?= 600
CHAOS_SEED ?= 14

chaos: $(VENV)/.installed-dev ## eight processes on one log: kills, stops, signals, forks, clocks, no room (CHAOS_SECONDS=600, CHAOS_SEED=14)
	@CHAOS_SECONDS=$(CHAOS_SECONDS) CHAOS_SEED=$(CHAOS_SEED) $(BIN)/python -m pytest tests/fault/test_chaos.py $(PYTEST_ARGS)

# Tests of servers, devices, kills and power cuts, again and again in another order each time: whatever fails
# once in fifty is a finding.
REPEATS ?= 20

repeat: $(VENV)/.installed-dev ## look for tests that fail now and then (REPEATS=20 rounds, PYTEST_ARGS="tests/server" to choose)
	@for seed in $$(seq $(REPEATS)); do \
	  $(PYTEST) -q -p no:cacheprovider --randomly-seed=$$seed \
	    $(or $(PYTEST_ARGS),tests/server tests/hsm tests/fault tests/contract tests/cli) || exit 1; \
	done

FAILOVERS ?= 5

failover: $(VENV)/.installed-dev ## a log on PostgreSQL: the primary killed, the network cut (FAILOVERS=5 rounds; needs root)
	@for round in $$(seq $(FAILOVERS)); do \
	  ATTESTLOG_FAILOVER=1 $(BIN)/python -m pytest tests/postgres/test_failover.py tests/postgres/test_partition.py \
	    $(PYTEST_ARGS) || exit 1; \
	done

SIM_RUNS ?= 2000
SIM_SEED ?= 1

simulate: $(VENV)/.installed-dev ## a writer, replicas and witnesses under seeded faults (SIM_RUNS=2000 lives, from SIM_SEED=1)
	@ATTESTLOG_SIM_RUNS=$(SIM_RUNS) ATTESTLOG_SIM_SEED=$(SIM_SEED) $(BIN)/python -m pytest tests/sim $(PYTEST_ARGS)

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(shell sed -n '/^TARGETS/,/^}/p' tests/fuzz/targets.py | grep -o '"[a-z_]*":' | tr -d '":')

fuzz: $(VENV)/.installed-dev ## atheris on every parser (FUZZ_SECONDS=60 each, FUZZ_TARGETS="entry note" to choose)
	@test -e .venv-fuzz/.installed || { $(BIN)/python -m venv --clear .venv-fuzz \
	  && .venv-fuzz/bin/python -m pip install --quiet --require-hashes -r requirements-dev.lock \
	  && .venv-fuzz/bin/python -m pip install --quiet $(ATHERIS) && touch .venv-fuzz/.installed; }
	@mkdir -p build/fuzz
	@for target in $(FUZZ_TARGETS); do log=build/fuzz/$$target.log; \
	  PYTHONPATH=src .venv-fuzz/bin/python -m tests.fuzz.run $$target $(FUZZ_SECONDS) build/fuzz >$$log 2>&1 \
	    || { tail -n 40 $$log; exit 1; }; \
	  echo "$$target: $$(grep -o 'Done.*' $$log)"; done

AGREE_LOGS ?= 200000
AGREE_SEED ?= 1

agree: $(VENV)/.installed-dev ## do both verifiers say the same of damaged and forged logs? (AGREE_LOGS=200000, AGREE_SEED=1; an hour)
	@$(BIN)/python -m tests.fuzz.two_verifiers --logs $(AGREE_LOGS) --seed $(AGREE_SEED)

# What the benchmark measures beside attestlog, in an environment of its own: used by nothing else.
PEER = noirebox==0.24.0
BENCH_ARGS ?=

bench: $(VENV)/.installed-dev ## measure this machine, and a peer (BENCH_ARGS="--size 1000000 --rounds 1" to choose)
	@test -e .venv-bench/.installed || { $(BIN)/python -m venv --clear .venv-bench \
	  && .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check cryptography \
	  && .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(PEER) \
	  && touch .venv-bench/.installed; } || echo "the peer cannot be installed; measuring without it" >&2
	@$(BIN)/python -m bench $(BENCH_ARGS)

growth: $(VENV)/.installed-dev ## one log at 0, 1 and 10 million entries, side by side (30 GB, an hour)
	@$(BIN)/python -m bench.growth $(GROWTH_ARGS)

MUTANTS ?= 10

mutants: $(VENV)/.installed-dev ## change a line, see whether a test notices (MUTANTS=10 of each module, half an hour)
	@$(BIN)/python -m tests.mutation.run --each $(MUTANTS)

SOAK_SECONDS ?= 3600

soak: $(VENV)/.installed-dev ## writers, readers, tail -f, queries and verify at once for an hour: nothing may grow
	@$(BIN)/python -m bench.soak --seconds $(SOAK_SECONDS)

bench-formats: $(VENV)/.installed-dev ## measure what the formats cost (BENCH_ARGS="--before COMMIT" to compare)
	@$(BIN)/python -m bench.formats $(BENCH_ARGS)

bench-proofs: $(VENV)/.installed-dev ## measure proofs and checkpoints at 10 million entries, publishing, tiles (3 GB)
	@$(BIN)/python -m bench.proofs $(BENCH_ARGS)

bench-publish: $(VENV)/.installed-dev ## measure waiting until an entry is published, beside the log alone; requests and bytes
	@$(BIN)/python -m bench.publish $(BENCH_ARGS)

bench-explorer: $(VENV)/.installed-dev ## measure the explorer in a browser: a million entries, checks a second, sizes (4 GB)
	@$(BIN)/python -m bench.explorer $(BENCH_ARGS)

bench-signers: $(VENV)/.installed-dev ## measure each signer: file, SoftHSM, a slow device
	@$(BIN)/python -m bench.signers

bench-serve: $(VENV)/.installed-dev ## measure the service: connections, batches, guarded calls, tails, beside the log in process
	@$(BIN)/python -m bench.serve $(BENCH_ARGS)

bench-replication: $(VENV)/.installed-dev ## measure replicas: following, waiting for copies, catching up; and a witness
	@$(BIN)/python -m bench.replication $(BENCH_ARGS)
	@$(BIN)/python -m bench.witness

bench-hosts: $(VENV)/.installed-dev ## measure one log on PostgreSQL that several hosts append to, beside plain INSERTs
	@$(BIN)/python -m bench.hosts $(BENCH_ARGS)

NIGHTLY = test-all repeat faults chaos failover simulate fuzz agree soak mutants

build/axe: ## axe-core, which looks for what shuts people out of a page (needs npm)
	@mkdir -p build/axe.part && cd build/axe.part && npm init --yes >/dev/null \
	  && npm install --no-audit --no-fund --ignore-scripts $(AXE) >/dev/null
	@mv build/axe.part $@

nightly: ## what takes longer than a change can wait: each in turn, and at the end what failed (a night)
	@failed=; for job in $(NIGHTLY); do \
	  $(MAKE) SIM_RUNS=20000 FUZZ_SECONDS=600 MUTANTS=20 $$job || failed="$$failed $$job"; \
	done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

lock: $(VENV)/.created ## bring the lock files up to the newest versions that pyproject.toml allows
	$(BIN)/python -m venv --clear .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.venv-lock/bin/uv $(LOCK) --upgrade --group build -o requirements.lock pyproject.toml
	.venv-lock/bin/uv $(LOCK) --upgrade --all-extras --group dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	.venv-lock/bin/uv $(LOCK) --upgrade --group services -c requirements.lock -o requirements-services.lock
	.venv-lock/bin/uv $(LOCK) --upgrade --group validators -o tests/interop/exports.txt
	rm -rf .venv-lock

# No host names, no paths, every platform and every Python from 3.11 on.
LOCK = pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

clean: ## remove .venv and everything the tools leave behind
	rm -rf .venv .venv-* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up. Each stamp is written last, so what was interrupted is done again.

$(VENV)/.created:
	@for python in $(PYTHON) $(if $(PYTHON),,$(PYTHONS)); do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making $(VENV) with $$python ($$("$$python" -V))"; \
	    "$$python" -m venv --clear $(VENV) && touch $@ && exit 0; exit 1; \
	  fi; \
	done; \
	echo "attestlog needs Python 3.11 or later with venv; tried: $(or $(PYTHON),$(PYTHONS))" >&2; \
	echo "hint: on Debian and Ubuntu, apt-get install python3 python3-venv; or make PYTHON=/path/to/python" >&2; \
	exit 1

$(VENV)/.installed: $(VENV)/.created requirements.lock pyproject.toml
	@echo "installing attestlog and what it needs into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@echo "installing the tools for testing into $(VENV)"
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

.venv-services/.installed: $(VENV)/.created requirements-services.lock
	@echo "installing the servers and tools that tests ask into .venv-services"
	@$(BIN)/python -m venv --clear .venv-services
	@.venv-services/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-services.lock
	@touch $@
