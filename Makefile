# Holdline: what a developer and CI run. Everything here needs Go and make alone, unless its line says more.
GO      ?= go
# Without a tag before it a commit is 0-YYYYMMDDHHMMSS-gHASH, by its date (UTC), so that a later one is a later version.
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || { date=$$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d%H%M%S 2>/dev/null) && \
	echo "0-$$date-g$$(git describe --always --dirty)"; } || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
SCHEDULES ?= 1000000
SEED    ?= 1
SOAK    ?= 60m
PGO     := cmd/holdline/serve.pgo

.PHONY: all build pgo fmt test race race-load lint drill soak faults faults-short sim bench bench-peers floods fuzz deb boxes docs proto clean

all: build

## build: bin/holdline, by the profile of nodes under load
build:
	CGO_ENABLED=0 $(GO) build -trimpath -pgo=$(PGO) -ldflags '$(LDFLAGS)' -o bin/holdline ./cmd/holdline

## pgo: that profile anew (root, sipp; idle machine; a quarter of an hour)
pgo: build
	$(GO) run ./deploy/bench -holdline bin/holdline -profile $(PGO) -cases '^(one|one-logged|three)-(0s|3s)@|^register' -rates 1500,2500 -seconds 40

## test: every test's short form, in a few minutes; network tests enter a user namespace when not root
test:
	$(GO) test ./...

## race: the same under the race detector (needs a C compiler)
race:
	CGO_ENABLED=1 $(GO) test -race ./...

## race-load: sipp's calls through three nodes built with the race detector (needs a C compiler and Debian's sip-tester)
race-load:
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 10m -v -run 'TestSipp$$' ./deploy/lab

## lint: vet, staticcheck, gofumpt
lint:
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@out=$$($(GO) tool gofumpt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); \
	if [ -n "$$out" ]; then echo "not gofumpt-formatted (make fmt mends it):"; echo "$$out"; exit 1; fi

fmt:
	$(GO) tool gofumpt -l -w $$(git ls-files '*.go' | grep -v '\.pb\.go$$')

## drill: three nodes, phones and a pulled cable on this machine, then the verdict
drill: build
	bin/holdline drill --json build/drill.json

## soak: calls for SOAK (60m) with every CPU busy and no fault: nothing is to move, to be lost, or to grow
soak: build
	bin/holdline drill --soak $(SOAK) --seed $(SEED) --json build/soak.json

## faults: every message boundary with every fault, on one cluster in namespaces (SEED repeats a run; CLOCK=--allow-clock-step steps this machine's clock too)
faults: build
	bin/holdline drill --suite all --seed $(SEED) $(CLOCK) --json build/faults.json

## faults-short: every message boundary with two faults each, so that every fault comes up, for CI (about three minutes)
faults-short: build
	bin/holdline drill --suite short --seed $(SEED) --json build/faults-short.json

## fuzz: every fuzz target for FUZZTIME, one after the other; what is found stays in the package's testdata
FUZZTIME ?= 10m
fuzz:
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9]+' $$dir/*_test.go | cut -d' ' -f2); do \
			echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -parallel 1 $$dir || exit 1; \
		done; done

## sim: SCHEDULES random schedules of the lease simulator (1 million: about ten minutes of one core)
sim:
	$(GO) test ./vip/lease/sim -run 'TestSchedules$$' -schedules $(SCHEDULES) -timeout 60m -v

## bench: Go benchmarks of the hot paths
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./sipcore/... ./fsm/... ./vip/...

## bench-peers: what a call costs Holdline and Kamailio, in one run (root; Debian's sip-tester and kamailio)
bench-peers: build
	$(GO) run ./deploy/bench -holdline bin/holdline -out build/bench-peers.json

## floods: a node under twice its load, junk, half-open and slow connections, 100 000 sources, all phones at once, long calls that ring (idle machine; four minutes)
floods: build
	$(GO) run ./deploy/floods -holdline bin/holdline -out build/floods.json

## deb: build/holdline_VERSION_ARCH.deb
deb: build
	cd deploy/package && $(GO) run . -version '$(VERSION)' -binary ../../bin/holdline -out ../../build

## boxes: that package on three systems with systemd, which are booted here and restarted, killed, frozen, upgraded and cut off (root; Debian's systemd-container, debootstrap, and its mirror the first time; three minutes)
boxes: deb
	$(GO) run ./deploy/boxes -package "$$(ls -t build/holdline_*.deb | head -1)"

## docs: what is generated from the code: CLI reference, OpenAPI
docs:
	$(GO) generate ./cmd/... ./cluster/api/...

## proto: Go code of the replicated log's definition (needs protoc)
proto:
	$(GO) build -o build/protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
	protoc --plugin=build/protoc-gen-go --go_out=. --go_opt=module=holdline fsm/fsm.proto

clean:
	rm -rf bin build
