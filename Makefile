# Everything sets itself up: `make demo` and `make test` work on a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
SOURCES := queue_core mcp_server tests
# One more than a small machine has cores: a test waits for about a third of its time.
TEST_JOBS ?= 3

.PHONY: help demo test fuzz reliability crash soak check format lint types install dev bench clean

help:                ## Say what can be made
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

demo: $(VENV)/.installed  ## Set up and run the main job: hooks, a session, kills, nothing lost (under 30 s)
	@$(BIN)/runq demo

test: $(VENV)/.dev   ## Set up and run all tests
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadgroup

# Another seed each time; the failure names it. One round takes about half a minute.
RUNQ_FUZZ_ROUNDS ?= 20
RUNQ_FUZZ_SEED ?= $(shell date +%s)
fuzz: export RUNQ_FUZZ_ROUNDS := $(RUNQ_FUZZ_ROUNDS)
fuzz: export RUNQ_FUZZ_SEED := $(RUNQ_FUZZ_SEED)
fuzz: $(VENV)/.dev   ## Look for frames and payloads that do harm, for long: RUNQ_FUZZ_ROUNDS=20
	$(BIN)/python -m pytest -n $(TEST_JOBS) tests/safety/test_fuzz_rpc.py tests/safety/test_fuzz_hook.py

# Storms of kills from outside, judged by what the commands themselves have noted. A finding names its seed.
KILLS ?= 2000
SEED ?= 1
MINUTES ?= 60
reliability: $(VENV)/.dev  ## Try everything against the promises and print the table of claims: KILLS=2000 SEED=1, WRITE=1 for the docs
	$(BIN)/python -m tests.reliability --kills $(KILLS) --seed $(SEED) --jobs 2 $(if $(WRITE),--write)

crash: $(VENV)/.dev  ## Only the storms: make crash KILLS=10000 SEED=7
	$(BIN)/python -m tests.crash --kills $(KILLS) --seed $(SEED)

soak: $(VENV)/.dev   ## Storms for an hour, each with a seed of its own: MINUTES=60
	$(BIN)/python -m tests.crash --minutes $(MINUTES) --seed $(SEED)

check: format-check lint types test  ## Formatter, linter, strict types, tests: what CI runs

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: format-check
format-check: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev   ## Run the linter
	$(BIN)/ruff check .

types: $(VENV)/.dev  ## Check types, strictly
	$(BIN)/basedpyright

install: $(VENV)/.installed  ## Only set up: .venv/bin/runq and .venv/bin/runq-mcp
dev: $(VENV)/.dev            ## Set up with all that the tests need

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "runq needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
ifdef UV
	$(UV) venv --quiet --python $(PYTHON) $(VENV)
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
endif

comma := ,
# Compiled at once, so that the first `runq add` is as fast as all later ones. (Where venv has put setuptools
# in, every start of Python would load its distutils shim: 1 ms that nobody needs here.)
define install
	$(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet) -e '$(1)'
	@$(if $(UV),:,$(BIN)/python -m pip uninstall --quiet --yes setuptools 2>/dev/null)
	@$(BIN)/python -m compileall -q queue_core mcp_server
	@for verb in add hook digest; do env -u PYTHONDONTWRITEBYTECODE $(BIN)/runq $$verb --help >/dev/null; done
	@touch $@
endef

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(call install,.)

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(call install,.[dev])
	@touch $(VENV)/.installed

$(VENV)/.bench: $(VENV)/bin/python pyproject.toml
	$(call install,.[dev$(comma)bench])
	@touch $(VENV)/.installed $(VENV)/.dev

# All of them take about ten minutes on a quiet machine. WRITE=1 brings tables and plots into docs/ up to date.
BENCH ?=
bench: $(VENV)/.bench  ## Measure everything beside its floor and its peers: BENCH=add,drain QUICK=1 WRITE=1
	$(BIN)/python -m benchmarks $(BENCH) $(if $(QUICK),--quick) $(if $(WRITE),--write)

clean:               ## Remove what was set up
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis dist
