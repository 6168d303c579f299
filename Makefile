# Everything runs from a fresh clone with Go and make; what else is needed is found or installed.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)"

LINT_VERSION := v2.15.0
LINT := bin/tools/golangci-lint-$(LINT_VERSION)

# The race detector needs cgo, so a C compiler.
CC_FOUND := $(shell command -v "$$(go env CC)" 2>/dev/null)
RACE := $(if $(CC_FOUND),-race)

FUZZTIME ?= 20s
SOAK ?= 10m
SEED ?=
VERSIONS ?= 14 15 16 17 18
MATRIX ?= ./cdc ./delivery/park ./cmd/relay ./internal/campaign
BENCH ?=
BASE ?= HEAD~1

.DEFAULT_GOAL := help
.PHONY: help build demo test test-matrix test-versions soak lint fmt bench bench-compare cross fuzz clean postgres packages

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the static binary, bin/relay.
	$(GOBUILD) -o bin/relay ./cmd/relay

demo: build postgres ## Show relay at work: a throwaway Postgres, three endpoints, one of which fails for a while.
	./bin/relay demo $(DEMO)

test: postgres packages ## Run all tests against a real Postgres, with the race detector.
ifndef RACE
	@echo 'no C compiler: the tests run without the race detector (install gcc or clang to have it)' >&2
endif
	go test $(RACE) -p 1 -timeout 20m ./...

test-matrix: packages ## Run the integration tests on other versions of Postgres, which it fetches: VERSIONS="14 18".
	@failed=; for version in $(VERSIONS); do \
		bin=$$(./internal/pgtemp/matrix.sh $$version) || { failed="$$failed $$version"; continue; }; \
		echo "--- $$($$bin/postgres --version)"; \
		RELAY_PG_BIN=$$bin go test $(RACE) -count 1 -p 1 -timeout 20m $(MATRIX) || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed on Postgres$$failed" >&2; exit 1; fi

test-versions: ## Run the stream's tests, and a short campaign, on the oldest and the newest Postgres.
	@set -e; for version in 14 18; do \
		bin=$$(./internal/pgtemp/matrix.sh $$version); \
		echo "--- $$($$bin/postgres --version)"; \
		RELAY_PG_BIN=$$bin go test $(RACE) -count 1 -timeout 5m ./cdc; \
		RELAY_PG_BIN=$$bin go test $(RACE) -count 1 -timeout 5m -run '^TestRelay_(MakesNoDuplicates|StandsBy)' ./internal/campaign; \
	done

soak: postgres ## Prove the promise at length: SOAK=10m says how long each part takes, SEED=n replays a campaign.
	SOAK=$(SOAK) RELAY_SEED=$(SEED) go test -v -timeout 0 -count 1 -run '^TestSoak_' ./internal/campaign

lint: $(LINT) ## Check the code with golangci-lint.
	$(LINT) run ./...

fmt: $(LINT) ## Format the code with gofumpt.
	$(LINT) fmt ./...

bench: build postgres ## Measure relay against the limit of this machine; flags in BENCH='…', -h for help.
	go run ./cmd/bench -relay ./bin/relay $(BENCH)

bench-compare: build postgres ## Hold this tree against the commit BASE=HEAD~1, in turns; flags in BENCH='…'.
	go run ./cmd/bench -relay ./bin/relay -compare $(BASE) $(BENCH)

cross: ## Build for Linux and macOS, amd64 and arm64, into dist.
	@set -e; for os in linux darwin; do for arch in amd64 arm64; do \
		echo "build $$os/$$arch"; \
		GOOS=$$os GOARCH=$$arch $(GOBUILD) -o dist/relay-$$os-$$arch ./cmd/relay; \
	done; done

fuzz: ## Run each fuzz test for a short while (FUZZTIME=20s).
	@set -e; for pkg in $$(go list ./...); do \
		for name in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "fuzz $$pkg $$name"; \
			go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

clean: ## Remove what was built.
	rm -rf bin dist

postgres:
	@./internal/pgtemp/install.sh

packages:
	@./cmd/relay/testdata/readers/install.sh
	@./examples/python/install.sh

# The version is in the file's name, so a new one is installed when it changes, and nothing global is touched.
$(LINT):
	GOBIN=$(CURDIR)/bin/tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv bin/tools/golangci-lint $@
