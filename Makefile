# Breakwater. `make run` is all that is needed on a fresh Debian or Ubuntu machine.

VENV ?= .venv
export VENV
PY := $(VENV)/bin/python
# Tests take this many processes, one more than cores, because some of them wait for others now and then.
JOBS ?= 3
PACKAGES := core engines upf_adapter appstore developer mecm frontend cli

# Compiled modules are kept, so that the next process starts in a third of the time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test check samples screenshots clean runtime dev

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: runtime ## start everything on this machine: centre, worker, one edge node, demo content (Ctrl-C ends it)
	@exec $(PY) manage.py up

samples: runtime ## build the sample images and packages into var/samples
	@$(PY) tools/samples.py

test: dev ## run the tests, from SQLite
	@VENV=$(VENV) JOBS=$(JOBS) tools/test.sh

check: dev ## lint, types, doors between the rooms, missing migrations
	@VENV=$(VENV) tools/check.sh $(PACKAGES)

screenshots: dev ## pictures of every page, wide and narrow, light and dark, into var/screenshots
	@$(PY) tools/screenshots.py

clean: ## remove what was built or written: the environment, var/, caches
	@tools/clean.sh

runtime:
	@tools/bootstrap.sh runtime

dev:
	@tools/bootstrap.sh dev
