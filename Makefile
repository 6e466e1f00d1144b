# make quickstart [LIGHT=1] | test | test-newest | mutants | fuzz | lint | clean
#
# Needs a Python of 3.11 to 3.14 with pip and venv, nothing else. LIGHT=1 leaves TensorFlow and TFDS
# out of a new environment. docs/installing.md has the plain pip commands of each target. A stamp in
# the environment saves the second call an installation.

.DELETE_ON_ERROR:
.PHONY: help quickstart environments environment-newest test test-core test-newest mutants fuzz \
	lint clean

VENV ?= .venv
WORKDIR ?= runs/quickstart
RUN := $(VENV)/bin/python
PYTEST := $(RUN) -m pytest -n 2 --dist loadfile --durations=10
# Most of a test's time is spent in XLA's compiler, which needs half of it with few optimizations.
FEW := JAX_DISABLE_MOST_OPTIMIZATIONS=1
FAST := $(FEW) $(PYTEST) -m "not slow"
# Slow tests wait for processes of theirs, so two cores have time for three. The last files are short.
# Only files that have some are read.
SLOW := $(FEW) $(RUN) -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=10 -m slow \
	$(shell grep -rl --include='test_*.py' mark.slow tests | LC_ALL=C sort)
# What all optimizations could make differ: networks, losses and a step, held against the references,
# and a whole run as a user starts it.
NUMBERS := $(addprefix tests/models/test_,goldens.py causal.py vqgan.py vit.py swin.py ofa.py lpips.py inception.py discriminator.py) \
	tests/tasks/test_losses.py tests/tasks/generation/test_prompt_step_golden.py \
	tests/tasks/classification/test_training_golden.py tests/jobs/test_run.py
# What a new version of JAX or Flax could break and what needs only the light installation: every
# network against its reference, decoding, training and sharding.
CORE := $(filter tests/models/%,$(NUMBERS)) tests/models/test_stepwise.py \
	tests/models/test_convolutional_encoders.py tests/decoding tests/tuning \
	tests/devices/test_sharding.py tests/tasks/generation/test_sampling.py

# The first of some commands that is a Python of these versions. A name on the PATH may be a shim
# that only prints an error.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
first = $(shell for name in $(1); do \
	$$name -c '$(SUPPORTED)' 2>/dev/null && { echo $$name; break; }; done)
minor = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PYTHON ?= $(call first,python3.11 python3 python3.12 python3.13 python3.14)
# pyenv has more Pythons than it puts on the PATH.
PYENV := $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions
NEWEST ?= $(call first,$(foreach v,3.14 3.13 3.12 3.11,python$(v) $(wildcard $(PYENV)/$(v).*/bin/python$(v))))

help:
	@sed -n 's/^# //p;/^$$/q' $(MAKEFILE_LIST)

quickstart: $(VENV)/.installed$(if $(filter 1,$(LIGHT)),-light)
	$(RUN) -m maskgit_prompt.main --config=configs/quickstart.py --workdir=$(WORKDIR)

test: $(VENV)/.installed-dev
	$(FAST) $(addprefix --ignore=,$(NUMBERS))
	$(PYTEST) $(NUMBERS)
	$(SLOW) $(addprefix --ignore=,$(NUMBERS))

# The fast tests of CORE in a light environment.
test-core: $(VENV)/.installed-light-dev
	$(FAST) $(CORE)

# The same on this machine's newest Python, with the newest JAX that pip installs for it.
ON_NEWEST = $(if $(filter $(call minor,$(PYTHON)),$(call minor,$(NEWEST))), \
	echo "$(NEWEST) is the newest Python here and make test runs on it: nothing more to do for $@", \
	$(MAKE) --no-print-directory $(1) VENV=.venv-newest PYTHON=$(NEWEST))
test-newest:
	@$(call ON_NEWEST,test-core)

# What test and test-newest run in, installed at the same time: .ci/run waits for pip once.
environments:
	@$(MAKE) --no-print-directory -j 2 $(VENV)/.installed-dev environment-newest
environment-newest:
	@$(call ON_NEWEST,.venv-newest/.installed-light-dev)

# Makes wrong changes one at a time and says which the tests notice: half an hour, not in CI.
mutants: $(VENV)/.installed-dev
	$(RUN) -m tests.mutants

# Damages 500 files of every kind at random and says how each is taken: ten minutes, not in CI.
fuzz: $(VENV)/.installed-dev
	$(RUN) -m tests.fuzz --quiet

lint: $(VENV)/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

$(VENV)/.installed: setup.py requirements.txt requirements-light.txt | $(RUN)
	$(RUN) -m pip install -e .
	@touch $@ $@-light

$(VENV)/.installed-dev: setup.py requirements.txt requirements-light.txt requirements-dev.txt | $(RUN)
	$(RUN) -m pip install -e '.[dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-light $(VENV)/.installed-light-dev

$(VENV)/.installed-light: setup.py requirements-light.txt | $(RUN)
	$(RUN) -m pip install -r requirements-light.txt
	$(RUN) -m pip install --no-deps -e .
	@touch $@

$(VENV)/.installed-light-dev: requirements-dev.txt $(VENV)/.installed-light
	$(RUN) -m pip install -r requirements-dev.txt
	@touch $@

$(RUN):
	@test -n "$(PYTHON)" || { \
		echo "error: no Python of 3.11 to 3.14 found; install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) .venv-newest build *.egg-info .pytest_cache .ruff_cache
