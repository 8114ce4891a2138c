# Everything a fresh machine needs is Python 3.11+, git and make: each target sets up its own .venv from pinned requirements.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test check bench mutants pins clean
help:
	@echo "make demo    the whole idea in 90 seconds: real data, real broker, five real agents"
	@echo "make test    all tests     make check   lint, types, layers     make bench [ONLY=agent] [CHECK=1]"
	@echo "make mutants [ARGS=--seed=7]    whether the tests of the rooms that decide notice 400 small wrong changes"

demo: .venv/ready
	$(BIN)/edgeward demo $(ARGS)

test: .venv/ready
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage report --format=total | sed 's/^/line and branch coverage: /;s/$$/ %/'

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(CHECK),--check)

mutants: .venv/mutants
	$(BIN)/python -m tools.mutants $(ARGS)

pins:
	$(PYTHON) -m venv .venv/pins
	.venv/pins/bin/pip install --quiet '.[dev]'
	.venv/pins/bin/pip freeze --exclude edgeward > requirements/dev.txt
	rm -rf .venv/pins

clean:
	rm -rf .venv .edgeward dist

.venv/ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "edgeward needs Python 3.11 or newer")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.venv/mutants: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[mutants]'
	touch $@
