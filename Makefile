# All set-up from Node, npm, make and (as root) apt. Every target that needs the tools depends on `setup`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
TOOLS := .tools/node
SYS_OK := $(shell node -e 'const [a,b]=process.versions.node.split(".").map(Number);process.stdout.write(a>24||(a===24&&b>=16)?"yes":"no")' 2>/dev/null)
# npm derives its global configuration from the place of the node binary; under our own Node a machine's registry
# and certificate settings would be lost, so the system's npm is asked before PATH changes.
export npm_config_globalconfig := $(shell npm config get globalconfig 2>/dev/null)
ifneq ($(SYS_OK),yes)
NODE_STAMP := $(TOOLS)/.ok
export PATH := $(CURDIR)/$(TOOLS)/bin:$(PATH)
endif
AGENT ?= openclaw
NODE_PACKAGE := node-linux-$(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)

.PHONY: help setup system demo up down test check clean
help: ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 16

$(TOOLS)/.ok:
	@echo "fetching Node 24 from npm (the system's Node is older than 24.16)"
	@rm -rf $(TOOLS) $(TOOLS).tmp; mkdir -p $(TOOLS).tmp/bin; echo '{"private":true}' > $(TOOLS).tmp/package.json
	@cd $(TOOLS).tmp && npm install --no-save --no-package-lock --engine-strict=false --ignore-scripts --no-audit --no-fund --loglevel=error $(NODE_PACKAGE)@24
	@ln -s ../node_modules/$(NODE_PACKAGE)/bin/node $(TOOLS).tmp/bin/node
	@$(TOOLS).tmp/bin/node -e 'const [a,b]=process.versions.node.split(".");process.exit(+a>24||(a=="24"&&+b>=16)?0:1)'
	@mv $(TOOLS).tmp $(TOOLS) && touch $@

node_modules/.package-lock.json: package.json package-lock.json $(wildcard packages/*/package.json) $(NODE_STAMP)
	@echo "installing npm dependencies"
	@npm ci --loglevel=error
	@touch $@

system: $(NODE_STAMP)
	@node tools/system-packages.ts

setup: node_modules/.package-lock.json system ## fetch everything the other targets need

demo: setup ## a sleeping agent answers a message (AGENT=openclaw or AGENT=counter)
	@node examples/demo/main.ts --agent $(AGENT)

up: setup ## start the platform and keep it running in the foreground
	@node packages/mvm/src/cli/main.ts up

down: setup ## stop the platform; sleeping instances stay asleep on disk
	@node packages/mvm/src/cli/main.ts down

check: setup ## types, lint, layers, dead code, repository rules, documentation examples
	@npm run --silent check

test: setup ## every check and every test, the real OpenClaw included
	@node tools/test-all.ts

clean: ## remove what the set-up fetched
	rm -rf node_modules .tools .cache
