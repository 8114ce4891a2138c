# Everything a fresh machine needs is Python 3.11+, git and make: each target sets up its own .venv from pinned requirements.
PYTHON ?= python3
BIN := .venv/bin
# Four for two cores: many tests wait for real processes. With more cores set more.
WORKERS ?= 4
# Python compiles what it imports, once. To compile all packages takes pip 21 of 52 s, and most files are never imported.
PIP_FLAGS := --quiet --disable-pip-version-check --no-compile

.PHONY: help demo demo-loop test coverage soak check bench mutants pins export-tools clean
help:
	@echo "make demo    the whole idea in 90 seconds: real data, real broker, five real agents"
	@echo "make demo-loop    the second demo: a real drift, and a fleet that recovers without a hand"
	@echo "make test    all tests     make soak    the long ones     make check   lint, types, layers"
	@echo "make coverage    all tests, and which lines and branches they run"
	@echo "make bench   [ONLY=agent] [CHECK=1] [MUTANTS=60000, of ONLY=fuzz]"
	@echo "make mutants [ARGS=--seed=7]    whether tests notice 400 small wrong changes to the rooms that decide"

demo: .venv/ready
	$(BIN)/edgeward demo $(ARGS)

demo-loop: .venv/ready
	$(BIN)/edgeward demo loop $(ARGS)

test: .venv/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

# Apart from `make test`: on Python 3.11 to measure coverage takes half of the time again.
coverage: .venv/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report= $(ARGS)
	$(BIN)/python -m coverage report --format=total | sed 's/^/line and branch coverage: /;s/$$/ %/'

soak: .venv/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m soak $(ARGS)

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(CHECK),--check) $(if $(MUTANTS),--mutants $(MUTANTS))

mutants: .venv/mutants
	$(BIN)/python -m tools.mutants $(ARGS)

pins:
	$(PYTHON) -m venv .venv/pins
	.venv/pins/bin/pip install $(PIP_FLAGS) '.[dev]'
	.venv/pins/bin/pip freeze --exclude edgeward > requirements/dev.txt
	rm -rf .venv/pins

# MLflow with its server, Hugging Face, OpenSSF and Fairlearn, by which tests check what we write, read and compute.
# Edgeward itself is there too: `mlflow deployments` finds its target.
export-tools: .venv/ready
	$(PYTHON) -m venv .venv/tools
	.venv/tools/bin/pip install $(PIP_FLAGS) -r requirements/export-tools.txt
	.venv/tools/bin/pip install $(PIP_FLAGS) -e '.[client]'

clean:
	rm -rf .venv .edgeward dist

.venv/ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "edgeward needs Python 3.11 or newer")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install $(PIP_FLAGS) -r requirements/dev.txt
	$(BIN)/pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	touch $@

.venv/mutants: .venv/ready
	$(BIN)/pip install $(PIP_FLAGS) --no-build-isolation -e '.[mutants]'
	touch $@
