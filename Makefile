# The two commands of a newcomer are `make demo` and `make test`; both set up .venv on the first call and reuse it afterwards.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Callsheet needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bot,worker,dev]'
	@touch $@

demo: $(STAMP)  ## play the tour: train, stack and render on this machine, then open out/demo/transcript.html
	$(RUN) -m bot.sandbox run bot/sandbox/scenarios/tour.yaml --out out/demo

test: lint  ## lint, types, import rules and every test
	$(RUN) -m pytest

lint: $(STAMP)  ## ruff, mypy and import-linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(STAMP)  ## measured figures; never part of the tests
	for script in tests/bench/bench_*.py; do $(RUN) $$script || exit 1; done

clean:  ## remove what the other targets made
	rm -rf $(VENV) out
