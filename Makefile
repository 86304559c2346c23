# What can be done here: `make help`.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

GO       ?= go
PKGS     ?= ./...
DURATION ?=
CLIENTS  ?= 200
RELAY    ?=
BENCH    ?= .
COUNT    ?= 1
FUZZTIME ?= 30s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

BUILD    := github.com/rootd/rootd/cmd/internal/build

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build rootd, rootctl, rootswarm and the demo into bin/
	@mkdir -p bin
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X $(BUILD).version=$(VERSION)' -o bin/ ./cmd/...

.PHONY: run
run: build ## Run a demo: a root of three members and a swarm of clients, with a live table [DURATION=60s] [CLIENTS=200] [RELAY=1]
	@exec bin/demo -clients $(CLIENTS) $(if $(DURATION),-duration $(DURATION)) $(if $(RELAY),-relay)

.PHONY: test
test: ## Run all tests [PKGS=./...]
	@$(GO) test $(PKGS)

.PHONY: race
race: ## Run all tests but the long ones with the race detector [PKGS=./...]
	@$(GO) test -race -short $(PKGS)

.PHONY: bench
bench: ## Run the benchmarks [PKGS=./...] [BENCH=regexp] [COUNT=1]
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKGS)

.PHONY: fuzz
fuzz: ## Fuzz every target in turn [PKGS=./...] [FUZZTIME=30s]
	@GO=$(GO) scripts/fuzz.sh $(FUZZTIME) $(PKGS)

.PHONY: lint
lint: ## Check format, vet, linters, import arrows
	@GO=$(GO) scripts/lint.sh

.PHONY: worlds
worlds: ## Run whole members in virtual time for long: random faults, dying leaders, a calm day [WORLD_TIME=6h] [SEED=0]
	$(GO) test -timeout 0 -v -run 'TestPromisesInTrouble|TestLeaderDies|TestNoQuorum|TestCalm' ./cmd/rootd \
		-world.time $(or $(WORLD_TIME),6h) -world.seed $(or $(SEED),0) -world.deaths 20 -world.calm 24h

.PHONY: soak
soak: build ## Run the demo for long, with a member killed every 30 s [DURATION=1h] [CLIENTS=200]
	@exec bin/demo -clients $(CLIENTS) -duration $(or $(DURATION),1h) -relay -kill-every 30s

.PHONY: scale
scale: ## Save and restore the state of many peers, with applies and lookups going on [PEERS=1000000]
	@ROOTD_SCALE_PEERS=$(or $(PEERS),1000000) $(GO) test ./fsm -run TestScale -count 1 -v -timeout 1h

.PHONY: lookups
lookups: ## Compare lookups and decisions with random reads in C [PEERS=1000000]
	@ROOTD_LOOKUP_PEERS=$(or $(PEERS),1000000) $(GO) test ./fsm -run TestLookupFloor -count 1 -v -timeout 1h

.PHONY: restores
restores: ## Compare a restore with reading the same snapshot in C [PEERS=1000000]
	@ROOTD_RESTORE_FLOOR=$(or $(PEERS),1000000) $(GO) test ./fsm -run TestRestoreFloor -count 1 -v -timeout 1h

.PHONY: bench-log
bench-log: ## Measure what three voters commit, on disk and in memory turn about [ROUNDS=5] [PEERS=1000000]
	@ROOTD_LOG_ROUNDS=$(or $(ROUNDS),5) $(GO) test ./fsm/replica -run TestLogThroughput -count 1 -v -timeout 1h -log.peers $(or $(PEERS),1000000)

.PHONY: scale-restore
scale-restore: ## Lose a cluster of many peers and restore it, with real processes [PEERS=1000000]
	@ROOTD_RESTORE_PEERS=$(or $(PEERS),1000000) $(GO) test ./cmd/rootd -run TestRestoreScale -count 1 -v -timeout 1h

.PHONY: kill-restore
kill-restore: ## Kill restores, recoveries and restores into a running cluster at random moments each, and look at what is left [KILLS=200]
	@ROOTD_KILLS=$(or $(KILLS),200) $(GO) test ./cmd/internal/restore ./cmd/rootctl ./cmd/rootd -run 'Killed$$' -count 1 -v -timeout 3h

.PHONY: soak-join
soak-join: ## Kill rootctl join at random moments of joins to a real cluster, and run it again [KILLS=200]
	@ROOTD_JOIN_KILLS=$(or $(KILLS),200) $(GO) test ./cmd/rootctl -count=1 -timeout 2h -run TestJoinKilledForReal -v

.PHONY: soak-upgrade
soak-upgrade: ## Kill a rolling restart of a real cluster at random moments, and resume it [KILLS=50]
	@ROOTD_UPGRADE_KILLS=$(or $(KILLS),50) $(GO) test ./cmd/rootctl -count=1 -timeout 2h -run TestRollingRestart -v

.PHONY: rescue
rescue: ## Kill a member of Alice under thousands of clients: how soon others have them, without Bob's help and with it [CLIENTS=5000] [ALONE=10m]
	$(GO) test -timeout 0 -v -run 'TestRescue(FarAway|Of)|TestFalseAlarm' ./cmd/rootd -world.rescues 20
	@ROOTD_RESCUE_CLIENTS=$(if $(filter file,$(origin CLIENTS)),5000,$(CLIENTS)) ROOTD_RESCUE_ALONE=$(or $(ALONE),10m) $(GO) test ./cmd/rootctl -count=1 -timeout 1h -run TestRescueForReal -v

.PHONY: drain
drain: ## Drain members of a real cluster with clients, and do it wrong
	@ROOTD_DRAIN=1 $(GO) test ./cmd/rootctl -count=1 -run 'TestDrain$$' -v

.PHONY: dist
dist: ## Build release archives for linux, darwin and freebsd into dist/, reproducibly
	@GO=$(GO) scripts/dist.sh

.PHONY: clean
clean: ## Remove bin/ and dist/
	@rm -rf bin dist
