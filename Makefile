# Every target makes its own .venv first, so a fresh clone needs only make and Python 3.11 or newer.
# PYTHON=/path/to/python chooses the interpreter that .venv is made from.

# The first of these that really starts (a version manager's shim may not), is new enough and can make a .venv.
FITS = import sys, venv, ensurepip; ok = sys.version_info[:2] >= (3, 11); ok and print(sys.executable); sys.exit(not ok)
ifndef PYTHON
PYTHON = $(shell for python in python3.12 python3.11 python3 python3.13 python3.14; do $$python -c '$(FITS)' 2>/dev/null && break; done)
endif
PIP_INSTALL = .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt
LOG = .venv/install.log
RUN = .venv/bin/python
COMMAND = .venv/bin/propensity
# Two tests at a time, each with one thread of torch, LightGBM and Numba: more threads would wait for each other.
TESTS = OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo results zoo test slow long lint bench clean

help: ## show these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

install: .venv/.installed ## make .venv with all that the other targets need

.venv/.installed: pyproject.toml setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "propensity: no Python 3.11 or newer with venv on the PATH; give one as make PYTHON=/path/to/python" >&2; exit 2; }
	@test -x .venv/bin/python || "$(PYTHON)" -m venv .venv
	@echo "installing the packages into .venv, a few minutes; the log is $(LOG)"
	@$(PIP_INSTALL) -e '.[demo,test]' >$(LOG) 2>&1 || { tail -n 20 $(LOG) >&2; echo "propensity: the installation failed; $(LOG) has the whole log" >&2; exit 1; }
	@touch $@

demo: .venv/.installed ## raw transactions to runs/demo/report.html, on real data
	$(COMMAND) prepare data/source=complete_journey 'data.source.not_products=[]' out=data/complete_journey
	$(COMMAND) train experiment=demo out=runs/demo
	$(COMMAND) evaluate run=runs/demo 'cutoffs=[2017-10-16,2017-11-13,2017-12-04]'

results: .venv/.installed ## README's tables from the metrics of the demo
	$(RUN) experiments/results.py runs/demo

zoo: .venv/.installed ## default settings on many markets, one cutoff each: experiments/zoo.md; up to three hours
	$(RUN) experiments/zoo.py

test: .venv/.installed ## the tests that take seconds
	$(TESTS)

slow: .venv/.installed ## the tests that take minutes: the wheel, a project, printed commands
	$(TESTS) -m 'slow and not long'

long: .venv/.installed ## the tests that take longest: killed runs, spoilt files, ten thousand shops
	$(RUN) -m pytest -m long

lint: .venv/.installed ## style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

bench: .venv/.installed ## our kernels and reference implementations in one process
	$(RUN) benchmarks/run.py

clean: ## remove caches; data/, runs/ and .venv/ stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find src tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
