# Everything a person does with this repository. `make` or `make help` lists it.
#
# Wants git, make and Python 3.11 (3.10 or later will do), no root, no Docker, no sshd; test-hosts alone is for
# root on Debian. The first target to need .venv makes it; a stamp newer than pyproject.toml means it is up to date.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help demo test check test-hosts test-agent-pythons bench picture guide fuzz clean

BIN := .venv/bin
DEMO := .venv/.ready-demo
DEV := .venv/.ready-dev
# What travels to the nodes as the agent, and so must be Python 3.7: its own package and the manifest.
AGENT_SOURCES = $(shell find agent -name "*.py") trainer/__init__.py trainer/spec/__init__.py $(wildcard trainer/spec/manifest.py)
# Tests at once; most of them wait for something. 0: one after another, in this process (for a debugger).
WORKERS ?= 2
# A file's tests stay together, for what they share; the files in the order of tests/conftest.py, longest first.
SPREAD = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Extra arguments: make demo ARGS="--fault rank-killed@20", make test ARGS="-k spool", make bench ARGS=startup
ARGS ?=

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(DEMO): pyproject.toml
	@scripts/setup.sh demo $@

$(DEV): pyproject.toml
	@scripts/setup.sh demo,trainer,dev $@
	@touch $(DEMO)

demo: $(DEMO) ## Open the console on a demo fleet that trains on this machine
	@exec $(BIN)/rankdeck demo $(ARGS)

test: $(DEV) ## All tests that need no root (those with torch and in a terminal included)
	@$(BIN)/python -m pytest $(SPREAD) $(ARGS)

check: $(DEV) ## Lint, types, import rules, and the agent's Python 3.7 floor
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/agent_floor.py $(AGENT_SOURCES)

test-agent-pythons: $(DEV) ## The agent's tests under Python 3.7 and 3.13, where they are installed
	@$(BIN)/python scripts/agent_pythons.py $(ARGS)

test-hosts: $(DEV) ## Real OpenSSH hosts in network namespaces (root, Debian)
	@scripts/host_packages.sh
	@RANKDECK_HOSTS=required $(BIN)/python -m pytest -m ssh tests/hosts -n $(WORKERS) --dist loadfile $(ARGS); status=$$?; \
	$(BIN)/python -m tests.hosts.rig sweep; exit $$status

fuzz: $(DEV) ## Made-up input for every parser of the agent: make fuzz ARGS="--inputs 100000 npu_table.parse"
	@$(BIN)/python -m tests.agent.fuzz $(ARGS)

bench: $(DEV) ## Measure, print a table, write build/bench/*.json
	@$(BIN)/python -m bench $(ARGS)

picture: $(DEV) ## Draw docs/img/*.svg from the real screen
	@$(BIN)/python scripts/picture.py $(ARGS)
	@$(BIN)/python scripts/picture_views.py

guide: $(DEV) ## Write the guide's pages that are made from the code: faults, reference
	@$(BIN)/python scripts/guide_pages.py

clean: ## Remove .venv and everything that was built or cached
	rm -rf .venv .venv-agent build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
