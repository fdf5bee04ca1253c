# `make report` and `make test` do all of their own set-up; `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONFIG ?= config/config.yaml
CORES ?= 4
REFERENCE ?=
OPEN ?=

VENV := .venv
BIN := $(VENV)/bin
# Python compiles what it imports, if it may: of all that is installed, which takes as long as the rest, that is little.
COMPILE := $(if $(PYTHONDONTWRITEBYTECODE),--compile,--no-compile)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(COMPILE)
PIP_INPUTS := constraints.txt pyproject.toml Makefile
FGBENCH := $(BIN)/python -m fgbench

.DEFAULT_GOAL := help
.PHONY: help report smoke verify reference tuned test lint system benchmarks screenshots pins clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

report: $(VENV)/installed ## train the study in CONFIG, render its report, open it on a desktop (not with OPEN=no)
	@$(FGBENCH) check --config $(CONFIG)
	@$(FGBENCH) prepare --config $(CONFIG)
	$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG)
	@$(FGBENCH) summary --config $(CONFIG) $(if $(filter no,$(OPEN)),--no-open)

smoke: ## the same six combinations, tiny
	@$(MAKE) report CONFIG=config/smoke.yaml

verify: $(VENV)/installed ## fail unless the study in CONFIG reproduces its references
	@$(FGBENCH) verify $(CONFIG)

TWICE := build/reference
reference: $(VENV)/installed ## train the study in CONFIG twice; write the file REFERENCE if both agree
	@test -n "$(REFERENCE)" || { echo "name the file to write: make reference REFERENCE=references/mine.json"; exit 1; }
	for run in first second; do \
	  $(FGBENCH) prepare --config $(CONFIG) --into $(TWICE)/$$run && rm -rf $(TWICE)/$$run/runs $(TWICE)/$$run/operations.json && \
	  $(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG) --config results=$(TWICE)/$$run references=[] \
	  --until train operations || exit 1; done
	$(FGBENCH) reference $(TWICE)/first $(TWICE)/second --output $(REFERENCE)

TUNED ?=
TUNING := build/tuned
tuned: $(VENV)/installed ## tune the methods of CONFIG that say `learning_rate: tuned`; write the file TUNED
	@test -n "$(TUNED)" || { echo "name the file to write: make tuned TUNED=config/mine.yaml"; exit 1; }
	$(FGBENCH) prepare --config $(CONFIG) --into $(TUNING)
	$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG) --config results=$(TUNING) references=[] tuning=True --until tune
	$(FGBENCH) tuned $(TUNING) --of $(CONFIG) --output $(TUNED)

test: lint ## linters, then every test
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-test ## ruff, mypy, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

system: ## on Debian, as root: the browser, fonts, compiler and emulator that some tests need, where missing
	@command -v chromium > /dev/null && command -v qemu-x86_64 > /dev/null && command -v setpriv > /dev/null \
	  && command -v g++ > /dev/null \
	  && fc-list | grep -q NotoSansCJK \
	  || { export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -y -qq --no-install-recommends \
	  chromium fontconfig fonts-noto-cjk g++ git make python3-dev python3-venv qemu-user util-linux > /dev/null; }

benchmarks: $(VENV)/installed ## where the time of a step and of a study goes
	$(BIN)/python benchmarks/steps.py
	$(BIN)/python benchmarks/pipeline.py

screenshots: $(VENV)/installed-test ## print views of results/report.html to docs/
	$(BIN)/python docs/screenshots.py results/report.html docs

pins: $(VENV)/installed-test ## write constraints.txt and environment.yml anew from .venv
	$(BIN)/python -m fgbench.pins

clean: ## remove results, keep fetched data
	rm -rf results results-smoke results-bundled build .snakemake

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "fgbench needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }

$(VENV)/installed: $(PIP_INPUTS) | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed-test: $(PIP_INPUTS) | $(BIN)/python
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/installed
