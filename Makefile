# What a developer of Parley does, by name. `make` alone lists it.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help run build test lint fuzz bench bench-cluster chaos chaos-cluster cluster clean tools chromium nginx release

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build, and start on http://localhost:8080
	@echo "Parley is starting: open http://localhost:8080 (Ctrl-C ends it)"
	./parley --allow-origin 'http://localhost:*'

build: ## one static binary, ./parley
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o parley .

test: tools chromium nginx ## everything: Go with -race, JavaScript, a real browser
	go test -race -timeout 20m ./...
	npm test

lint: tools ## gofmt, vet, staticcheck, tsc
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go tool staticcheck ./...
	npm run --silent lint

fuzz: ## look for input that breaks the decoder or the hub, a minute each
	go test -run '^$$' -fuzz FuzzRequest -fuzztime 1m -fuzzminimizetime 20x ./protocol
	go test -run '^$$' -fuzz FuzzHub -fuzztime 1m -fuzzminimizetime 20x ./hub

bench: ## Go benchmarks, then the server beside two marks: some six minutes; tables in hub/bench/RESULTS.md
	go test -run '^$$' -bench . -benchtime 0.2s -benchmem ./protocol ./hub
	go test ./hub/bench -count 1 -timeout 30m -v -system -markdown $(CURDIR)/hub/bench/RESULTS.md

bench-cluster: ## what several servers cost: deliveries, acknowledgements, losses, rooms, keys; some five minutes
	go test ./hub/cluster -run '^$$' -bench Acknowledgement -benchtime 2000x
	go test ./hub/cluster -run '^$$' -bench 'Deliveries|Loss' -benchtime 1x
	go test ./store -run '^$$' -bench JetStreamRooms -benchtime 10000x
	go test ./store -run '^$$' -bench JetStreamJoin -benchtime 5000x
	go test ./store -run '^$$' -bench JetStreamIDs -benchtime 1000000x

chaos: ## 100,000 random schedules of the hub; two minutes of cuts, freezes and kills on the real server
	go test -count 1 -timeout 60m -run Schedules ./hub -schedules 100000
	go test -count 1 -timeout 30m -v -run 'TestChaos$$' ./hub/chaos -chaos.duration 2m

chaos-cluster: ## the same on three servers and three NATS servers, five times
	go test -count 1 -timeout 60m -v -run 'TestChaosCluster$$' ./hub/chaos -chaos.runs 5

release: ## binaries for all systems in dist/, with checksums
	rm -rf dist && mkdir dist
	@set -e; for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64; do \
		os=$${target%/*} arch=$${target#*/}; file=dist/parley-$$os-$$arch; test $$os != windows || file=$$file.exe; \
		echo $$file; CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags '$(LDFLAGS)' -o $$file .; \
	done
	cd dist && sha256sum parley-* > SHA256SUMS

cluster: build nginx ## start three servers, three NATS servers and nginx, and open the page; PORT=9000 for another than 8080
	go build -o dist/nats-server github.com/nats-io/nats-server/v2
	deploy/cluster/run.sh ./parley dist/nats-server $(PORT)

clean: ## remove what was built
	rm -rf parley dist node_modules

tools: node_modules/.package-lock.json

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || \
	{ echo "The tests drive a real browser: install Chromium (Debian: apt-get install chromium)."; exit 1; }

nginx:
	@test -x /usr/sbin/nginx || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq nginx-light >/dev/null; } || \
	{ echo "The tests run a real nginx: install it (Debian: apt-get install nginx-light)."; exit 1; }
