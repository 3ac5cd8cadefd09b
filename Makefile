# frontdesk.webstack: everything a developer runs. `make` alone lists it.
#
# Another Python: make setup PYTHON=/path/to/python3.13

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TESTHOSTS := tools/testhosts.py
DEMO_HOSTS := edge1 app1 app2

# The newest Python that runs: version managers put stubs on the PATH that name a version, but do not run.
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$python"; break; }; done)

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# Every program that is looked for, and the Debian packages that bring it.
NEEDS := podman:podman,netavark,iptables runc:runc mmdebstrap:mmdebstrap ip:iproute2 ssh:openssh-client \
	shellcheck:shellcheck

# A browser is needed by the whole-stack tests alone.
test: NEEDS += chromium:chromium

# The stamp is named after the requirements: change them, and `make setup` installs again.
STAMP = .venv/.installed-$(shell cat requirements-dev.txt | sha256sum | cut -c1-12)
COLLECTION := .cache/collections/ansible_collections/frontdesk/webstack

# Of this checkout alone: the hosts of another one have the same names, and shared connections go by name.
export ANSIBLE_SSH_CONTROL_PATH_DIR := $(HOME)/.ansible/cp-$(shell printf %s "$(CURDIR)" | sha256sum | cut -c1-8)
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin

.PHONY: help setup packages hosts demo lint units molecule test test-all reliability clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: packages $(STAMP) $(COLLECTION) ## Install what development needs (system packages, .venv); quick when done
	@echo "setup: ready ($$(.venv/bin/python --version), $$(.venv/bin/ansible --version | head -n 1))"

packages:
	@missing=""; for need in $(NEEDS); do \
		command -v "$${need%%:*}" >/dev/null || missing="$$missing $$(tr , ' ' <<< "$${need#*:}")"; done; \
	[ -n "$(PYTHON)" ] && "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	[ -z "$$missing" ] && exit 0; \
	command -v apt-get >/dev/null || { echo "setup: please install:$$missing" >&2; exit 1; }; \
	[ "$$(id -u)" = 0 ] || command -v sudo >/dev/null || \
		{ echo "setup: as root, please run: apt-get install$$missing" >&2; exit 1; }; \
	echo "setup: installing$$missing"; \
	$(SUDO) apt-get -q=2 update && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -q=2 install --no-install-recommends $$missing >/dev/null

# uv installs the same packages as pip, ten times as fast.
$(STAMP):
	@[ -n "$(PYTHON)" ] || { echo "setup: no Python 3.11 or later found; name one: make setup PYTHON=..." >&2; exit 1; }
	@echo "setup: .venv with $$("$(PYTHON)" --version)"
	@rm -rf .venv && "$(PYTHON)" -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --requirement requirements-dev.txt
	@touch $@

# Ansible finds collections by their path: this checkout gets the path it would have once installed.
$(COLLECTION):
	@mkdir -p $(@D) && ln -sfn "$(CURDIR)" $@

hosts: packages ## Bring up the demo's hosts: edge1, app1, app2
	@$(TESTHOSTS) up $(DEMO_HOSTS)

demo: setup hosts ## Bring up hosts, put the example apps on them, show what is there
	@ANSIBLE_CALLBACK_PLUGINS=tests/plugins/callback ANSIBLE_CALLBACKS_ENABLED=module_runs,ansible.posix.timer \
		ansible-playbook playbooks/site.yml -i inventories/demo
	@.venv/bin/python tools/demo_summary.py

lint: setup ## Check style and syntax
	@tools/lint.sh

units: setup ## Run the unit tests
	@.venv/bin/pytest -q tests/unit tests/mutants/test_inventory.py

molecule: setup ## Run the scenarios on test hosts; one alone: make molecule SCENARIO=flask
	@molecule test $(if $(SCENARIO),--scenario-name $(SCENARIO),--all)

test: setup ## Run what a change must pass
	@tools/test.sh

test-all: setup ## Run what a change must pass, and all of what it takes a sample of but for the reliability run
	@MUTANTS=all tools/test.sh

reliability: setup ## Deploy, roll back, break and kill under traffic, for hours; goes on with RESUME=1
	@tests/reliability/run.sh

clean: ## Remove hosts, images, caches and .venv of this checkout
	@if [ -d .cache/hosts ]; then $(TESTHOSTS) clean; fi
	@rm -rf .venv .cache dist
