# All that is ever typed: `make demo`, `make test`. Each target makes .venv first if it is missing (envs/venv.sh).
SHELL := bash
.DEFAULT_GOAL := help
CORES ?= $(shell nproc 2>/dev/null || echo 1)
CORPORA_DIR ?= corpora
BIN := .venv/bin
REPORT := results/demo/report
PYTEST := CORPORA_DIR="$(CORPORA_DIR)" $(BIN)/python -m pytest
export PYTHON

.PHONY: help venv demo test test-full test-mpich test-slurm fuzz lint format bench debian clean
.NOTPARALLEL:

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

venv: ## .venv from requirements.lock (once; again when the lock changes)
	@bash envs/venv.sh

demo: venv ## the embedded corpus from recordings to word error rates and a report (CORES=n)
	$(BIN)/snakemake --cores $(CORES)
	@if [ ! -e $(REPORT)/report.html ] || [ $(REPORT)/summary.txt -nt $(REPORT)/report.html ]; then \
		$(BIN)/snakemake --report $(REPORT)/report.html >$(REPORT)/report.log 2>&1 \
		|| { tail -n 15 $(REPORT)/report.log >&2; exit 1; }; fi
	@echo; cat $(REPORT)/summary.txt; echo; echo "report: $(REPORT)/report.html"

debian: ## Debian tools that some tests compare with (as root)
	@bash tests/setup_debian.sh

test: venv ## the tests, without the slow ones (CORPORA_DIR=folder with the real corpora, ARGS=...)
	$(PYTEST) -m "not slow" $(ARGS)

test-full: venv ## all tests
	$(PYTEST) $(ARGS)

test-mpich: venv ## the MPI tests once more with MPICH (in .venv-mpich, on top of .venv)
	@bash envs/mpich.sh
	CORPORA_DIR="$(CORPORA_DIR)" .venv-mpich/bin/python -m pytest -m mpi $(ARGS)

test-slurm: venv ## the tests on a SLURM of two nodes with accounting, brought up here and taken down again (Debian, as root)
	@bash tests/setup_debian.sh slurm
	SLURM_BOX=accounting $(PYTEST) -m slurm $(ARGS)

fuzz: venv ## hostile random input, many examples
	HYPOTHESIS_PROFILE=fuzz $(PYTEST) -m fuzz $(ARGS)

lint: venv ## ruff, pyright, snakefmt, snakemake --lint, rooms
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --warnings
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	PYTHONPATH=src $(BIN)/lint-imports

format: venv ## write the format that lint asks for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile workflow

bench: venv ## speed as ratios within one run
	$(BIN)/python -m benchmarks

clean: ## remove caches; results and .venv stay
	rm -rf .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist src/*.egg-info
