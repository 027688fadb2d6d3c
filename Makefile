# One first command each for using and for changing factfade. `make` alone says what there is.
SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
# Two busy threads on two busy cores are many times slower than one: tests and lint take one thread each.
TEST_ENV := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
PYTEST := $(TEST_ENV) $(PY) -m pytest
ONLY_CHECK := slow or browser or gpu
# The default suite in so many processes, each of one thread; what is slow runs alone, since it kills and measures.
JOBS ?= 2
ARGS ?=

.PHONY: help install demo test slow check lint format clean

help:
	@echo "make demo     install, then watch facts fade on the embedded world: table, runs/demo/report.html"
	@echo "make test     install, then run the default test suite"
	@echo "make check    the default suite and the slow one: kills, README commands, browser, larger models"
	@echo "make slow     the slow suite alone"
	@echo "make lint     ruff check, ruff format --check, pyright"
	@echo "make format   let ruff fix and format"
	@echo "make install  the environment alone: .venv (uv when there, else pip)"
	@echo "make clean    remove caches; .venv and runs/ stay"

install: .venv/.stamp

.venv/.stamp: pyproject.toml constraints.txt tools/install.sh
	@PYTHON="$(PYTHON)" tools/install.sh
	@touch $@

demo: install
	@.venv/bin/factfade demo $(ARGS)

test: install
	$(PYTEST) -n $(JOBS) --dist loadfile -m "not ($(ONLY_CHECK))" $(ARGS)

slow: install
	$(PYTEST) -m "$(ONLY_CHECK)" $(ARGS)

check: test slow

lint: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright --pythonpath $(PY)

format: install
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf .pytest_cache .ruff_cache .hypothesis build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
