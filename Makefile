# Targets for people and for CI. `make` alone lists them.

# Tools at their exact versions; Go fetches them.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2
BENCHTIME ?= 1s
FUZZTIME ?= 60s

# Installs a C compiler and Go where the machine has none.
GO = $(shell .ci/go)
BIN := bin
# The plugin is C as well as Go.
export CGO_ENABLED := 1
GOFLAGS_BUILD := -trimpath -ldflags=-s\ -w

.DEFAULT_GOAL := help

## help: list the targets
.PHONY: help
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST) | sed 's/^\([a-z]*\): */\1\t/' | expand -t 12 | sed 's/^/  /'

## build: bin/libdatastaging.so, bin/stagectl and bin/datastaging*_rules.yaml, and for tests bin/libauditsource.so and bin/libwitness.so
.PHONY: build
build:
	@mkdir -p $(BIN)
	$(GO) build $(GOFLAGS_BUILD) -buildmode=c-shared -o $(BIN)/libdatastaging.so ./plugin
	@rm -f $(BIN)/libdatastaging.h
	$(GO) build $(GOFLAGS_BUILD) -o $(BIN)/stagectl ./e2e/stagectl
	$(GO) build $(GOFLAGS_BUILD) -buildmode=c-shared -o $(BIN)/libauditsource.so ./e2e/auditsource
	@rm -f $(BIN)/libauditsource.h
	$(CC) -O2 -Wall -Wextra -Werror -shared -fPIC -s -Iplugin/internal/abi/include -o $(BIN)/libwitness.so e2e/witness/witness.c
	@cat macros/datastaging_macros.yaml rules/datastaging_rules.yaml > $(BIN)/datastaging_rules.yaml
	@cat macros/k8s_audit_macros.yaml rules/k8s_audit_rules.yaml > $(BIN)/datastaging_k8s_audit_rules.yaml

## demo: replay an attack and a benign workload and show the alerts
.PHONY: demo
demo: build
	@$(BIN)/stagectl replay --format table e2e/captures/local-staging-upload.scap e2e/captures/benign-build.scap

## test: everything: generated files, vet, units, the rules on real captures in a real engine, and what the cases cover
.PHONY: test
test: build
	$(GO) vet ./...
	$(GO) test ./...
	$(BIN)/stagectl test $(if $(CI),--no-cache)
	$(BIN)/stagectl coverage --check

## coverage: which terms of the rules no case exercises, and which rules lack a case
.PHONY: coverage
coverage: build
	$(BIN)/stagectl coverage --check

## mutate: which small changes of the rules no case notices, besides those with a reason; takes a minute
.PHONY: mutate
mutate: build
	$(BIN)/stagectl mutate --explained e2e/mutants.yaml

## lint: golangci-lint, and stagectl lint on the rules
.PHONY: lint
lint: build
	$(GO) run $(GOLANGCI) run ./...
	$(BIN)/stagectl lint
	$(BIN)/stagectl lint examples/tuning/*.yaml

## generate: rewrite the generated parts of the documentation
.PHONY: generate
generate:
	$(GO) test ./plugin/internal/fields -run 'TestREADME|TestHarness' -update -count=1

## bench: benchmarks of the event path; feed the output to benchstat
.PHONY: bench
bench:
	$(GO) test -run=- -bench=. -benchtime=$(BENCHTIME) ./plugin/...

## fuzz: every fuzz target for FUZZTIME each
.PHONY: fuzz
fuzz:
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    $(GO) test -run=- -fuzz="^$$target$$" -fuzztime=$(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

## clean: remove what was built
.PHONY: clean
clean:
	rm -rf $(BIN)
