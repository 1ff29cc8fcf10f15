# Every task of a developer and of CI. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := install --quiet --disable-pip-version-check --no-input --root-user-action=ignore
# The pinned lists are whole, so nothing is resolved: pip would take a newer release of what one asks for with an extra
# (coverage[toml]), and then refuse it for having no hash.
PIP_PINNED := $(PIP_INSTALL) --require-hashes --no-deps
PREFIX ?= /usr/local
DESTDIR ?=
LIBDIR := $(PREFIX)/lib/bento
MANDIR := $(PREFIX)/share/man/man1
COMPLETION_bash := $(PREFIX)/share/bash-completion/completions/bento
COMPLETION_zsh := $(PREFIX)/share/zsh/site-functions/_bento
COMPLETION_fish := $(PREFIX)/share/fish/vendor_completions.d/bento.fish
# Which directories install has made, a line each without DESTDIR: uninstall takes no other one.
MADE_DIRECTORIES := $(LIBDIR)/made-directories
T ?=

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Set-up ---------------------------------------------------------------------------------

.PHONY: setup
setup: packages $(VENV)/.ready ## Install Debian's packages (as root) and make .venv with .venv/bin/bento
	@test -x $(BIN)/bento && echo "ready: $(BIN)/bento"

.PHONY: setup-test
setup-test: test-packages $(VENV)/.ready-test $(VENV)/.ready-lint $(VENV)/.ready-clients ## The same, with what the tests need

.PHONY: packages
packages:
	@tools/ensure-packages run

.PHONY: test-packages
test-packages:
	@tools/ensure-packages test

# An interpreter that was upgraded or removed leaves a .venv that does not run: then it is made anew.
$(VENV)/.made:
	@python=$$(tools/find-python) && echo "making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)
	@touch $@

# The script runs this interpreter, and isolated (-I): what PYTHONPATH or a package in a home directory has is not taken in;
# and without site (-S), which the plain way makes up for: a command that is handed to a zygote needs none of it.
write-script = printf '%s\n' '\#!$(2) -IS' 'import sys' 'sys.path.insert(0, "$(3)")' 'from bento.zygote.client import main' \
	'del sys.path[0]' 'main()' > '$(1)'

ifneq ($(wildcard $(VENV)),)
ifneq ($(shell $(BIN)/python -c 'print("ok")' 2>/dev/null),ok)
$(shell rm -rf $(VENV))
endif
endif

$(VENV)/.ready: $(VENV)/.made requirements/run.txt requirements/serve.txt requirements/cri.txt requirements/build.txt pyproject.toml src/bento/__init__.py
	@echo "installing pinned requirements"
	@$(BIN)/python -m pip $(PIP_PINNED) -r requirements/run.txt -r requirements/serve.txt -r requirements/cri.txt -r requirements/build.txt
	@$(BIN)/python -m pip $(PIP_INSTALL) --no-index --no-build-isolation --no-deps --editable .
	@$(call write-script,$(BIN)/bento,$(CURDIR)/$(BIN)/python,$(CURDIR)/src)
# setuptools comes with venv before Python 3.12 and puts itself into every start of the interpreter; nothing needs it.
	@$(BIN)/python -m pip --disable-pip-version-check uninstall --quiet --yes --root-user-action=ignore setuptools 2>/dev/null || true
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready requirements/test.txt
	@echo "installing pinned test requirements"
	@$(BIN)/python -m pip $(PIP_PINNED) -r requirements/test.txt
	@touch $@

# The linters have an environment of their own (requirements/test.in says why), reached by links in .venv/bin.
$(VENV)/.ready-lint: $(VENV)/.ready-test requirements/lint.txt
	@echo "installing pinned linters"
	@$(BIN)/python -m venv --clear $(VENV)/lint
	@$(VENV)/lint/bin/python -m pip $(PIP_PINNED) -r requirements/lint.txt
# import-linter reads the package where Python would find it.
	@echo '$(CURDIR)/src' > $(VENV)/lint/$$($(VENV)/lint/bin/python -c \
		'import os, sys, sysconfig; print(os.path.relpath(sysconfig.get_path("purelib"), sys.prefix))')/bento.pth
	@ln -sf $(foreach tool,mypy ruff codespell lint-imports,../lint/bin/$(tool)) $(BIN)/
	@touch $@

# Docker's clients are strangers to bento: what they bring along is not to be found by it.
$(VENV)/.ready-clients: $(VENV)/.ready-test requirements/clients.txt
	@echo "installing pinned clients"
	@$(BIN)/python -m venv --clear $(VENV)/clients
	@$(VENV)/clients/bin/python -m pip $(PIP_PINNED) -r requirements/clients.txt
	@touch $@

# Use ------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## Run a server in a container, stop it gracefully, look at the report (as root)
	@PATH="$(CURDIR)/$(BIN):$$PATH" demo/run

# Checks ---------------------------------------------------------------------------------

.PHONY: test
test: setup-test ## Every test (as root); T=path or T='-k words' for some
	@$(if $(T),$(BIN)/python -m pytest $(T),tools/test)

.PHONY: unit
unit: $(VENV)/.ready-test ## Tests that need no root: unit and property
	@$(BIN)/python -m pytest $(wildcard tests/unit tests/property) $(T)

.PHONY: fuzz
fuzz: setup-test ## Hostile layers, documents, stacks against umoci, kills: N=2000 examples of each (as root)
	@BENTO_FUZZ_EXAMPLES=$(or $(N),2000) $(BIN)/python -m pytest -o timeout=0 -o faulthandler_timeout=0 tests/contract/test_image_fuzz.py \
		tests/property/test_image_documents.py tests/integration/test_image_stacks.py tests/integration/test_image_kills.py

.PHONY: differential
differential: setup-test ## Stop workloads plainly and by Bento, compare (as root): W='name name', T='--full'
	@PYTHONPATH=tests $(BIN)/python -m differential.runner $(W) $(T)

.PHONY: programs
programs: setup-test ## Servers of the table get each signal of their files, and are checked (as root): T='-k nginx'
	@BENTO_TEST_PROGRAMS=1 $(BIN)/python -m pytest -o timeout=0 tests/integration/test_programs.py tests/integration/test_gallery.py $(T)

.PHONY: systemd
systemd: setup-test ## Containers as units of a real systemd, in a machine of its own that is made once (as root)
	@PYTHONPATH=tests $(BIN)/python -m support.prepare machine
	@$(BIN)/python -m pytest -o timeout=0 tests/integration/systemd_machine.py $(T)

.PHONY: spdy-client
spdy-client: setup-test ## npm's spdy-transport as a client of the streaming server (needs npm and its registry)
	@mkdir -p build/spdy-client && cp tests/support/spdy_transport/package*.json build/spdy-client
	@npm ci --silent --no-audit --no-fund --prefix build/spdy-client
	@BENTO_TEST_NODE_MODULES=$(CURDIR)/build/spdy-client/node_modules $(BIN)/python -m pytest tests/integration/spdy_transport.py $(T)

.PHONY: coverage
coverage: $(VENV)/.ready-test ## Branch coverage of the unit and property tests
	@$(BIN)/python -m pytest -q --cov --cov-report=term $(wildcard tests/unit tests/property) $(T)

.PHONY: soak
soak: setup-test ## Many commands at one container at once, in T=100 rounds (as root); CI does two
	@BENTO_TEST_ROUNDS=$(or $(T),100) $(BIN)/python -m pytest -q tests/integration/test_concurrent.py

.PHONY: check-verdicts
check-verdicts: setup-test ## The verdicts of `bento check` on sound and faulty programs, T=20 times under load (as root); CI does one
	@BENTO_TEST_ROUNDS=$(or $(T),20) $(BIN)/python -m pytest -q tests/integration/test_check.py -k under_load

.PHONY: stress
stress: setup-test ## Random verbs, kills and halts against a model, for T=60 seconds (as root); SEED=N draws the same again
	@PYTHONPATH=tests $(BIN)/python -m stress --seconds $(or $(T),60) $(if $(SEED),--seed $(SEED))

.PHONY: load
load: setup-test ## `bento serve` with N=1000 streams, 200 requests a second for T=60 s, clients that die, kills (as root); some minutes
	@PYTHONPATH=tests $(BIN)/python -m load --streams $(or $(N),1000) --seconds $(or $(T),60)

.PHONY: node-kills
node-kills: setup-test ## The server of a node, killed at N=20 moments of every call, or at all, N=0 (as root); ten minutes
	@PYTHONPATH=tests $(BIN)/python -m load.node_kills --kills $(or $(N),20) $(T)

.PHONY: lint
lint: $(VENV)/.ready-lint ## ruff, formatting, spelling
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/codespell --quiet-level 3

.PHONY: format
format: $(VENV)/.ready-lint ## Format the sources and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format .

.PHONY: types
types: $(VENV)/.ready-lint ## mypy: strict on src, looser on tests and bench
	@$(BIN)/mypy --no-error-summary src tests bench

.PHONY: imports
imports: $(VENV)/.ready-lint ## The layers of ARCHITECTURE.md, by import-linter
	@$(BIN)/lint-imports --no-cache --no-logo

.PHONY: budget
budget: $(VENV)/.ready-test ## What `bento stop` may import
	@$(BIN)/python -m pytest -q tests/unit/test_import_budget.py

# What is measured is installed as for users: with byte code, and without what the tests bring into .venv.
BENCHED := $(CURDIR)/build/bench/bin/bento

.PHONY: bench
bench: setup ## Compare with the engines found here (as root); T='--quick --out FILE'
	@$(MAKE) install PREFIX=$(CURDIR)/build/bench
	@$(BIN)/python bench/bench.py --bento $(BENCHED) $(T)

.PHONY: bench-budgets
bench-budgets: setup-test ## The budgets of speed: against Podman, Docker, containerd, by API, library (as root); T='--rounds 5'
	@$(MAKE) install PREFIX=$(CURDIR)/build/bench
	@$(BIN)/python bench/budgets.py --bento $(BENCHED) $(T)

.PHONY: bench-images
bench-images: setup-test ## Compare what is done with images with Podman and umoci (as root); T='--rounds 3'
	@$(MAKE) install PREFIX=$(CURDIR)/build/bench
	@$(BIN)/python bench/images.py --bento $(BENCHED) $(T)

.PHONY: bench-pods
bench-pods: setup-test ## Pods by `bento serve --cri-socket` beside Debian's containerd (as root); T='--rounds 5'
	@$(MAKE) install PREFIX=$(CURDIR)/build/bench
	@$(BIN)/python -m pip --python $(CURDIR)/build/bench/lib/bento/bin/python $(PIP_PINNED) -r requirements/cri.txt
	@$(BIN)/python bench/pods.py --bento $(BENCHED) $(T)

# Install --------------------------------------------------------------------------------

.PHONY: install
install: setup ## Put bento on PATH, with manual pages and completion: PREFIX=/usr/local, DESTDIR for packagers
	@rm -rf build/wheel && mkdir -p build
	@{ cat '$(DESTDIR)$(MADE_DIRECTORIES)' 2>/dev/null || true; \
		for place in '$(PREFIX)/bin' '$(dir $(LIBDIR))' '$(MANDIR)' $(foreach shell,bash zsh fish,'$(dir $(COMPLETION_$(shell)))'); do \
			while [[ $$place == /?* && ! -d '$(DESTDIR)'$$place ]]; do echo "$${place%/}"; place=$$(dirname "$$place"); done; \
		done; } | sort -u > build/made-directories
	@rm -rf '$(DESTDIR)$(LIBDIR)'
	@install -d '$(DESTDIR)$(dir $(LIBDIR))' '$(DESTDIR)$(PREFIX)/bin'
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-index --no-build-isolation --no-deps \
		--wheel-dir build/wheel .
	@"$$(tools/find-python)" -m venv --without-pip '$(DESTDIR)$(LIBDIR)'
	@$(BIN)/python -m pip --python '$(DESTDIR)$(LIBDIR)/bin/python' $(PIP_PINNED) -r requirements/run.txt -r requirements/serve.txt
	@$(BIN)/python -m pip --python '$(DESTDIR)$(LIBDIR)/bin/python' $(PIP_INSTALL) --no-index --no-deps build/wheel/*.whl
# pip writes the interpreter's path at build time into the script; below DESTDIR that is not where it will live.
	@packages=$$('$(DESTDIR)$(LIBDIR)/bin/python' -c 'import sys; print("lib/python%d.%d/site-packages" % sys.version_info[:2])') && \
		test -d "$(DESTDIR)$(LIBDIR)/$$packages/bento" && $(call write-script,$(DESTDIR)$(LIBDIR)/bin/bento,$(LIBDIR)/bin/python,$(LIBDIR)/'"$$packages"')
	@ln -sfn '$(LIBDIR)/bin/bento' '$(DESTDIR)$(PREFIX)/bin/bento'
	@rm -rf build/wheel
	@mv build/made-directories '$(DESTDIR)$(MADE_DIRECTORIES)'
	@$(BIN)/python tools/man-pages '$(DESTDIR)$(MANDIR)'
	@$(foreach shell,bash zsh fish,install -Dm644 src/bento/cli/completion/bento.$(shell) '$(DESTDIR)$(COMPLETION_$(shell))' &&) true
	@echo "installed $(DESTDIR)$(PREFIX)/bin/bento"

.PHONY: uninstall
uninstall: ## Undo install; containers and images stay
	@mkdir -p build && { cat '$(DESTDIR)$(MADE_DIRECTORIES)' 2>/dev/null || true; } | sort -r > build/made-directories
	@rm -rf '$(DESTDIR)$(LIBDIR)'
	@rm -f '$(DESTDIR)$(MANDIR)'/bento.1 '$(DESTDIR)$(MANDIR)'/bento-*.1
	@rm -f $(foreach shell,bash zsh fish,'$(DESTDIR)$(COMPLETION_$(shell))')
	@if [[ -L '$(DESTDIR)$(PREFIX)/bin/bento' ]]; then rm -f '$(DESTDIR)$(PREFIX)/bin/bento'; fi
	@while read -r place; do rmdir --ignore-fail-on-non-empty '$(DESTDIR)'"$$place" 2>/dev/null || true; done < build/made-directories
	@rm -f build/made-directories

# Upkeep ---------------------------------------------------------------------------------

.PHONY: requirements
requirements: ## Pin requirements/*.in anew (needs a package index)
	@tools/pin-requirements

.PHONY: clean
clean: ## Remove everything that make has made here
	@rm -rf $(VENV) build dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache htmlcov .coverage*
	@find . -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +
