# make test is what continuous integration runs; make demo is the shortest way to see a cluster.
# docs/dev.md explains the rest.

PACKAGES = $(shell go list ./... | grep -v /test/)
# Processes of their own, so limited by time and not run beside each other. Most of their time is
# waiting for leases to end, so four tests at a time. The first time other Debians
# are made as well, if the tool for that is there.
E2E = $(wildcard test/e2e)

# Packages with goroutines whose tests need no server, for the race detector, which needs a C compiler; part of
# make soak, as building for it takes a minute. "make race RACE=./..." takes all.
RACE = $(addprefix ./internal/,ctl dcs/memory demo guardian ledger logging node rest rest/peer)

.PHONY: all build demo test setup vet staticcheck unit race e2e soak fuzz clean

all: build

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/tamada ./cmd/tamada

demo: setup build
	bin/tamada demo $(ARGS)

test: setup build vet staticcheck unit e2e

setup:
	scripts/setup

vet:
	@unformatted=$$(gofmt -l cmd internal $(wildcard test)); \
	  [ -z "$$unformatted" ] || { echo "gofmt -w is due for:" $$unformatted; exit 1; }
	go vet ./...

staticcheck:
	go tool staticcheck ./...

unit:
	go test -timeout 10m $(PACKAGES)

race:
ifneq ($(shell command -v gcc),)
	CGO_ENABLED=1 go test -race -timeout 10m $(RACE)
else
	@echo "make race: skipped, as the race detector needs gcc (apt-get install gcc libc6-dev)"
endif

e2e:
ifneq ($(E2E),)
	go test -count=1 -timeout 30m -p 1 -parallel 4 ./test/...
endif

# The long runs, for a night; the report replaces the last one. SOAK=10m for a try.
SOAK ?= 8h
soak: setup build
	scripts/soak $(SOAK)

fuzz:
	scripts/fuzz 60s

clean:
	rm -rf bin tamada-demo
