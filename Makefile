# Everything a person or a machine does with this repository. Needs Python 3.11 or newer and make, nothing else.
#
# Set-up speaks on standard error only, so that the output of `make run ARGS="--once --json"` is one JSON object.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.stamp
PEERS := .venv-bench/.stamp
PYTHON ?=
ARGS ?=

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help run test bench lint clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(READY) ## the demo; ARGS="--once" ends after the timeline, ARGS="--once --json" prints figures only
	@$(BIN)/pointsman demo $(ARGS)

test: $(READY) ## the whole test-suite; ARGS goes to pytest
	@$(BIN)/python -m tests.support.model_servers
	@$(BIN)/python -m tests.support.unleash
	@$(BIN)/python -m tests.support.prometheus
	@$(BIN)/python -m tests.support.helm
	@$(BIN)/python -m tests.support.browser
	@$(BIN)/python -m pytest $(ARGS)

bench: $(READY) $(PEERS) ## side-by-side benchmarks against other proxies, kept in bench/results/; ARGS goes to bench
	@PATH="$$PATH:/usr/sbin"; missing=; \
	for tool in nginx wrk haproxy; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	[ -z "$$missing" ] || $(call system_packages,$$missing) \
	|| echo "make bench needs$$missing: install them, for instance by apt-get install$$missing" >&2
	@PATH="$$PATH:/usr/sbin" $(BIN)/python -m bench $(ARGS)

lint: $(READY) ## ruff, mypy (strict), import-linter
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

clean: ## removes the environment, caches and built files; keeps var/
	@rm -rf $(VENV) .venv-bench .venv-servers .unleash-server .prometheus .axe-core .helm .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, made anew when pyproject.toml or what is compiled changes. uv installs it in seconds; where uv cannot be had, pip does.
$(READY): pyproject.toml hatch_build.py $(wildcard gateway/*.pyx routing/*.pyx shadow/*.pyx)
	@{ set -e; \
	python=$$(for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3 python; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then echo $$candidate; break; fi; done); \
	if [ -z "$$python" ]; then \
	    echo "Pointsman needs Python 3.11 or newer, and found none. Install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; fi; \
	echo "Setting up $(VENV) with $$($$python -V) (once, one to three minutes) ..." >&2; \
	$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	|| $$python -m venv --clear $(VENV) >&2 \
	|| { $(call system_packages,python3-venv) && $$python -m venv --clear $(VENV) >&2; } \
	|| { echo "$$python cannot make virtual environments: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }; \
	{ $(BIN)/python -m pip install --quiet --disable-pip-version-check uv >&2 \
	  && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[demo]' --group dev >&2; } \
	|| { echo "uv cannot be had; installing with pip ..." >&2; \
	     $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' >&2 \
	     && $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]' --group dev >&2; } \
	|| { echo "The packages cannot be installed: see the lines above; a package index is needed once." >&2; exit 1; }; \
	touch $@; }

# The proxies to compare with, in a place of their own; what cannot be had is named in the benchmark's report.
$(PEERS): pyproject.toml | $(READY)
	@echo "Setting up .venv-bench with the peers (once) ..." >&2; \
	$(BIN)/python -m venv .venv-bench >&2 \
	&& { $(BIN)/uv pip install --quiet --python .venv-bench/bin/python --group peers >&2 \
	     || { .venv-bench/bin/python -m pip install --quiet --upgrade 'pip>=25.1' >&2 \
	          && .venv-bench/bin/python -m pip install --quiet --group peers >&2; }; } \
	&& touch $@ || echo "The peers cannot be installed: see above. Going on without them." >&2
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[bench]' >&2 \
	|| $(BIN)/python -m pip install --quiet --editable '.[bench]' >&2 || echo "No matplotlib, no chart." >&2

# $(call system_packages,names): installs Debian packages where we may; false where we may not.
define system_packages
{ command -v apt-get >/dev/null && \
if [ "$$(id -u)" = 0 ]; then as_root=env; else as_root='sudo -n env'; fi && \
$$as_root DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 && \
$$as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >&2; }
endef
