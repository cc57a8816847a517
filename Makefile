# Needs Python 3.11 or newer, pip and make. Everything else is installed into .venv, from locks with hashes.
#
#   make demo    check the example shop, as it was first and moved out of the process, and write demo/*.html
#   make test    run the tests; those whose servers are not installed are skipped, by name
#   make lint types docs bench    what their names say
#   make lock    renew requirements/*.txt from pyproject.toml (UPGRADE=--upgrade takes newer releases)
#   make clean   remove .venv and everything built

PYTHON ?= python3
WORKERS ?= 2
PYTEST_ARGS ?=
UPGRADE ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header $(UPGRADE)

# A tree that was moved or copied brings an environment that still points at the old place: start afresh.
STALE := $(shell test ! -e .venv/demo.stamp || grep -qsF "$(CURDIR)/.venv" .venv/pyvenv.cfg || rm -rf .venv)

.PHONY: demo test lint types docs bench lock clean
.DELETE_ON_ERROR:

demo: .venv/demo.stamp
	@echo "Checking the shop as it was first, then moved out of the process; each check tells how far it is:"
	@mkdir -p demo && rm -f demo/*.html demo/*.json
	@for shop in naive moved; do \
		status=0; PATH="$(CURDIR)/$(BIN):$$PATH" \
		fungible check --file examples/shop/$$shop/check.toml --html demo/$$shop.html --json demo/$$shop.json || status=$$?; \
		if [ $$status -gt 1 ]; then \
			echo "The demo has failed: fungible check ended with status $$status." >&2; exit 2; \
		fi; \
		echo; \
	done
	@$(BIN)/python examples/shop/before_and_after.py demo/naive.json demo/moved.json || { \
		echo "The demo has failed: the shop that keeps state in its process should have findings, the other none." >&2; \
		exit 2; }
	@echo "The reports for a browser: demo/naive.html and demo/moved.html"

test: .venv/dev.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -rs $(PYTEST_ARGS)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev.stamp
	$(BIN)/basedpyright --warnings

docs: .venv/dev.stamp
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "The documentation: docs/_build/html/index.html"

bench: .venv/dev.stamp
	@if [ -d benchmarks ]; then $(BIN)/python -m benchmarks; else echo "There are no benchmarks yet."; fi

# dev.txt first: demo.txt takes the same versions, so that both fit into one environment.
lock: .venv/dev.stamp
	$(LOCK) --extra all --group dev pyproject.toml --output-file requirements/dev.txt
	$(LOCK) --extra check --group build --group examples --constraints requirements/dev.txt pyproject.toml \
		--output-file requirements/demo.txt

clean:
	rm -rf .venv demo build dist docs/_build .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1)' || { \
		echo "Fungible needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || true)." >&2; \
		echo "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Making a virtual environment in .venv ..."
	@$(PYTHON) -m venv .venv || { \
		rm -rf .venv; \
		echo "$(PYTHON) can't make a virtual environment; Debian and Ubuntu keep that in the package python3-venv." >&2; \
		exit 1; }

.venv/demo.stamp: requirements/demo.txt pyproject.toml | $(BIN)/python
	@echo "Installing what the demo needs into .venv, once; this may take a minute or two ..."
	$(PIP) install --quiet --require-hashes -r requirements/demo.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: requirements/dev.txt .venv/demo.stamp
	@echo "Installing what the tests need into .venv, once; this may take some minutes ..."
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@
