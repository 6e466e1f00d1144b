# make quickstart | test | lint | clean
#
# Needs a Python of 3.11 to 3.13 with pip and venv, nothing else. What each target does stands in the
# README as plain pip commands. A stamp in the environment spares a second call the installation.

.DELETE_ON_ERROR:
.PHONY: help quickstart test lint clean

VENV ?= .venv
WORKDIR ?= runs/quickstart
# The first one that runs: a name on the PATH may be a shim that only prints an error.
PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { echo $$name; break; }; done)
RUN := $(VENV)/bin/python

help:
	@sed -n 's/^# //p;/^$$/q' $(MAKEFILE_LIST)

quickstart: $(VENV)/.installed
	$(RUN) -m maskgit_prompt.main --config=configs/quickstart.py --workdir=$(WORKDIR)

test: $(VENV)/.installed-dev
	$(RUN) -m pytest -n 2 --dist loadfile -m "not slow" --durations=10
	$(RUN) -m pytest -n 2 --dist loadfile -m slow --durations=10

lint: $(VENV)/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

$(VENV)/.installed: setup.py requirements.txt | $(RUN)
	$(RUN) -m pip install -e .
	@touch $@

$(VENV)/.installed-dev: setup.py requirements.txt | $(RUN)
	$(RUN) -m pip install -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(RUN):
	@test -n "$(PYTHON)" || { \
		echo "error: no Python of 3.11 to 3.13 found; install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
