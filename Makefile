# `make` lists the targets. Everything is installed under .venv/, one
# environment a backend, and stays as it is until pyproject.toml changes.

BACKEND ?= tensorflow
PYTHON ?= python3
TORCH ?= torch==2.13.0
# Of Keras: a version, `oldest` (that pyproject.toml allows) or `nightly`.
KERAS ?=
ARGS ?=
JOBS ?= 2
EXAMPLE ?= vanishing_gradients

BACKENDS := tensorflow jax torch
EXAMPLES := $(sort $(basename $(notdir $(wildcard examples/*.py))))
empty :=
space := $(empty) $(empty)
OLDEST := $(shell sed -n 's/^dependencies = .*"keras>=\([0-9.]*\)".*/\1/p' pyproject.toml)
KERAS_PACKAGE := $(if $(filter nightly,$(KERAS)),keras-nightly,keras==$(KERAS:oldest=$(OLDEST)))
# An environment a backend, and one for a backend with another Keras.
OF_BACKENDS := $(sort $(BACKENDS) $(BACKEND)$(addprefix -keras-,$(KERAS)))
ENVIRONMENTS := $(OF_BACKENDS) lint without-keras browser docs
# Tested once, where there is no Keras.
WITHOUT_KERAS := tests/test_architecture.py tests/test_derived.py tests/test_figures.py tests/test_quantities.py tests/test_recording.py tests/rules tests/reports
# One test or a few of each kind: imports, a metric, loss, regularizer, constraint,
# initializer and layer, a monitor in `fit`, a recording, a report, an example.
SMOKE := tests/test_import.py::test_names_are_loaded_when_first_used \
	tests/test_architecture.py \
	tests/test_recording.py \
	tests/metrics/test_class_scores.py::test_one_class_a_row \
	tests/losses/test_cross_entropy.py::test_categorical \
	tests/regularizers/test_regularizers.py::test_value_and_gradient \
	tests/constraints/test_soft_threshold.py \
	tests/initializers/test_chrono.py::TestLSTM::test_gates \
	tests/layers/test_activation_probe.py::TestStatistics \
	tests/callbacks/test_gradient_monitor.py::TestLogs \
	tests/reports/gradients/test_table.py \
	tests/examples/test_examples.py::test_vanishing_gradients
# Tested in a browser: never with the others.
BROWSER := tests/reports/browser
ifeq ($(filter $(BACKEND),$(BACKENDS)),)
$(error BACKEND must be one of: $(BACKENDS). Received: BACKEND=$(BACKEND))
endif
ifeq ($(filter $(EXAMPLE),$(EXAMPLES)),)
$(error EXAMPLE must be one of: $(EXAMPLES). Received: EXAMPLE=$(EXAMPLE))
endif

ENV := .venv/$(BACKEND)$(addprefix -keras-,$(KERAS))
LINT := .venv/lint/bin
RUN := KERAS_BACKEND=$(BACKEND) TF_CPP_MIN_LOG_LEVEL=3
PIP_INSTALL := bin/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo smoke test test-long test-without-keras browser lint types package wheel-runs docs docs-serve figures bench clean

help: ## list the targets
	@echo 'make TARGET [BACKEND=tensorflow|jax|torch] [KERAS=oldest|nightly|...] [ARGS=...] [JOBS=2] [PYTHON=python3]'
	@echo 'make demo [EXAMPLE=$(subst $(space),|,$(EXAMPLES))]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

# These call the doctor themselves, and write its report.
OWN_REPORT = $(filter vanishing_gradients text_classification,$(EXAMPLE))
demo: $(ENV)/.installed-demo $(if $(filter text_%,$(EXAMPLE)),$(ENV)/.installed-text)
demo: ## run an example; ends with the doctor's verdict, and a report of it
	$(RUN) $(ENV)/bin/$(if $(OWN_REPORT),python,keras-concepts run) examples/$(EXAMPLE).py $(ARGS)

# What JAX compiled once serves both processes, the examples and the next run.
test: export JAX_COMPILATION_CACHE_DIR := $(CURDIR)/.pytest_cache/jax
test: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS := 0
test: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES := -1
# JAX compiles far more here than it runs, three times as fast without
# optimization. The tests marked `optimized` do not go without, nor does
# anything if ARGS are given or this JAX does not know the options.
PYTEST := $(RUN) MPLBACKEND=Agg OMP_NUM_THREADS=1 $(ENV)/bin/python -m pytest -n $(JOBS) --durations=15
UNOPTIMIZED := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false
ELSEWHERE := $(WITHOUT_KERAS:%=--ignore=%) --ignore=$(BROWSER)
test: $(ENV)/.installed-test ## run all tests and the docstrings' examples: 3 to 10 minutes
	@echo 'All tests on $(BACKEND) take 3 to 10 minutes on two cores; "make smoke" takes one.'
ifeq ($(BACKEND)$(ARGS),jax)
	options='$(UNOPTIMIZED)'; \
	XLA_FLAGS="$$options" $(ENV)/bin/python -c 'import jax; jax.devices()' \
		|| options=; \
	XLA_FLAGS="$$options" $(PYTEST) $(ELSEWHERE) -m 'not optimized'
	$(PYTEST) $(ELSEWHERE) -m optimized
else
	$(PYTEST) $(or $(ARGS),$(ELSEWHERE))
endif

test-long: $(ENV)/.installed-test ## run the tests that take minutes each, and that `make test` skips
	$(PYTEST) --long -m long $(or $(ARGS),tests)

smoke: $(ENV)/.installed-test ## run a few tests of each kind: a minute
	$(RUN) MPLBACKEND=Agg OMP_NUM_THREADS=1 $(ENV)/bin/python -m pytest -q $(SMOKE)

test-without-keras: .venv/without-keras/.installed ## run the tests of what needs no Keras, without it: half a minute
	! .venv/without-keras/bin/python -c 'import keras' 2>/dev/null
	MPLBACKEND=Agg .venv/without-keras/bin/python -m pytest -n $(JOBS) \
		$(or $(ARGS),--ignore=$(BROWSER) $(WITHOUT_KERAS) keras_concepts/recording.py keras_concepts/quantities.py)

browser: .venv/browser/.installed ## look at HTML reports in Chromium, which must be there: a minute
	MPLBACKEND=Agg .venv/browser/bin/python -m pytest $(or $(ARGS),$(BROWSER))

lint: .venv/lint/.installed ## check format, style, spelling and phrases
	$(LINT)/ruff format --check
	$(LINT)/ruff check
	$(LINT)/codespell
	$(LINT)/python .ci/check_english.py

types: .venv/lint/.installed .venv/tensorflow/.installed-test ## check types
	$(LINT)/pyright --pythonpath .venv/tensorflow/bin/python

package: .venv/lint/.installed ## build sdist and wheel, check what is in them
	rm -rf dist
	$(LINT)/python -m build
	$(LINT)/python .ci/check_wheel.py dist
	$(LINT)/twine check --strict dist/*

# With the packages of the torch environment, of which pip installs none here.
wheel-runs: .venv/torch/.installed-test ## install the wheel into a clean environment; run the README's example
	rm -rf .venv/wheel
	$(PYTHON) -m venv .venv/wheel
	.venv/wheel/$(PIP_INSTALL) --no-deps dist/*.whl
	ls -d "$(CURDIR)"/.venv/torch/lib/python3*/site-packages \
		> "$$(ls -d .venv/wheel/lib/python3*/site-packages)/others.pth"
	cd .venv && KERAS_BACKEND=torch wheel/bin/python ../.ci/run_readme.py

docs: .venv/docs/.installed ## build the site, in site/
	.venv/docs/bin/jupytext --quiet --update --to ipynb docs/guides/in_ten_minutes.md
	PYTHONPATH=docs/_build .venv/docs/bin/zensical build --clean --strict
	! find site -name "*.py" | grep .

docs-serve: .venv/docs/.installed ## show the site, and what you change in it
	PYTHONPATH=docs/_build .venv/docs/bin/zensical serve

figures: $(ENV)/.installed-text ## measure what the pages show: figures and numbers: an hour or two
	$(RUN) OMP_NUM_THREADS=1 $(ENV)/bin/python docs/measured $(ARGS)

bench: $(ENV)/.installed-test ## run every script in benchmarks/
	set -e; for script in benchmarks/*.py; do \
		echo "== $$script"; \
		$(RUN) MPLBACKEND=Agg $(ENV)/bin/python $$script $(ARGS); \
	done

clean: ## remove the environments and all that was built
	rm -rf .venv dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two packages bring the module `keras`: one at a time.
define install_keras
.venv/$1/bin/python -m pip uninstall --quiet --yes keras keras-nightly
	.venv/$1/$(PIP_INSTALL) '$(KERAS_PACKAGE)'
endef

# Each stamp is written last, so an installation that was broken off is taken
# up again, and an environment that was broken off while it was made is made
# anew.

$(ENVIRONMENTS:%=.venv/%/.created): .venv/%/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'keras-concepts needs Python 3.11 or newer. Received: PYTHON=$(PYTHON)' \
			"($$($(PYTHON) --version 2>/dev/null || echo 'not found'))." \
			'Name another one: make PYTHON=python3.12 ...' >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo '$(PYTHON) cannot make virtual environments.' \
			'On Debian and Ubuntu: apt install python3-venv' >&2; \
		exit 1; }
	rm -rf .venv/$*
	$(PYTHON) -m venv .venv/$*
	.venv/$*/$(PIP_INSTALL) --upgrade 'pip>=25.1'
	@touch $@

$(OF_BACKENDS:%=.venv/%/.installed-demo): .venv/%/.installed-demo: pyproject.toml | .venv/%/.created
	$(if $(filter torch%,$*),.venv/$*/$(PIP_INSTALL) '$(TORCH)')
	.venv/$*/$(PIP_INSTALL) -e '.[$(firstword $(subst -, ,$*)),plot,report,examples]'
	$(if $(findstring -keras-,$*),$(call install_keras,$*))
	@touch $@

$(OF_BACKENDS:%=.venv/%/.installed-text): .venv/%/.installed-text: .venv/%/.installed-demo
	.venv/$*/$(PIP_INSTALL) -e '.[text]'
	.venv/$*/$(PIP_INSTALL) --no-deps 'german-nouns>=1.2'
	@touch $@

$(OF_BACKENDS:%=.venv/%/.installed-test): .venv/%/.installed-test: pyproject.toml | .venv/%/.created
	$(if $(filter torch%,$*),.venv/$*/$(PIP_INSTALL) '$(TORCH)')
	.venv/$*/$(PIP_INSTALL) -e '.[$(firstword $(subst -, ,$*)),plot,report,tensorboard,examples]' --group test
	$(if $(findstring -keras-,$*),$(call install_keras,$*))
	@touch $(@D)/.installed-demo $@

.venv/without-keras/.installed: pyproject.toml | .venv/without-keras/.created
	.venv/without-keras/$(PIP_INSTALL) --group without-keras
	.venv/without-keras/$(PIP_INSTALL) --no-deps -e .
	@touch $@

.venv/browser/.installed: pyproject.toml | .venv/browser/.created
	.venv/browser/$(PIP_INSTALL) --group browser
	.venv/browser/$(PIP_INSTALL) --no-deps -e .
	@touch $@

.venv/docs/.installed: pyproject.toml | .venv/docs/.created
	.venv/docs/$(PIP_INSTALL) --group docs
	@touch $@

.venv/lint/.installed: pyproject.toml | .venv/lint/.created
	.venv/lint/$(PIP_INSTALL) --group lint
	@touch $@
