# make lists the targets. Everything works from a fresh clone; what the machine lacks is
# installed by make deps, which make test runs when something is missing.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Everything is built as it ships, without cgo, but what the race detector needs, and TLS=boring: that links BoringCrypto,
# the FIPS-validated module of Google, which needs a C compiler.
export CGO_ENABLED := 0
TLS     ?= go
ENV     := $(if $(filter boring,$(TLS)),GOEXPERIMENT=boringcrypto CGO_ENABLED=1)
# CHANGELOG.md begins with "[1.2.3] - unreleased" until the day of that release stands there.
VERSION := $(shell sed -n '/^.. \[/{s/.*\[\(.*\)\] - unreleased/\1-dev/;s/.*\[\(.*\)\].*/\1/;p;q}' CHANGELOG.md)
EPOCH   := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)
COMMIT  := $(shell git describe --exclude='*' --always --abbrev=40 --dirty 2>/dev/null)
INTO    := github.com/edge-proxy/edge/internal/base/build
BUILD   := $(ENV) go build -trimpath -buildvcs=false \
	-ldflags '-s -w -X $(INTO).version=$(VERSION) -X $(INTO).commit=$(COMMIT)'
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PREFIX  ?= /usr/local

# What a run can be told: make run LISTEN=127.0.0.1:9000, make fuzz FUZZTIME=5m, and so on.
LISTEN   ?= 127.0.0.1:8080
DEMO     ?= 127.0.0.1:3000
FUZZTIME ?= 30s
FUZZBUILD ?= -fuzz=Fuzz
SIM_FIRST ?= 1
TIMES    ?= 20
TAKEOVERS ?= 100000
SOAK_FUZZ ?= 1m
PARTS    ?=
KEY      ?=
PUBLIC   ?=
REPEATS  ?= 3
BENCH    ?= .
COUNT    ?= 10
OUT      ?= new.out
OLD      ?= old.out
ROUNDS   ?= 9
FLAGS    ?=
AGAIN    ?=

# Modules of their own: an importer of edge gets neither baselines nor test suites of others.
MODULES := bench cmd/edge-bench examples/plugin internal/test/interop internal/test/outside packaging/dist
# Those that make test compiles and tests when THIRD is 0. Their types are checked each day by internal/lint/elsewhere.
SELDOM    := bench cmd/edge-bench packaging/dist
TODAY     = $(if $(filter-out 0,$(THIRD)),$(filter-out $(SELDOM),$(MODULES)),$(MODULES))
# $(call each,COMMAND) runs a command in every one of them.
each = for dir in $(TODAY); do echo "in $$dir: $(1)"; (cd $$dir && $(1)) || exit 1; done

# NAME = $(call once,NAME,VALUE) works out a value when it is needed first, and never again.
once = $(eval $(1) := $(2))$($(1))

# The packages that know no descriptor: they are for every system that Go has.
PORTABLE = $(shell go list -e -f '{{.ImportPath}} {{join .Deps " "}}' ./... | grep -vE 'edge/poller|x/sys/unix' | \
	cut -d ' ' -f 1 | grep -vE '/(internal/(lint|test)|examples|cmd|packaging)(/|$$)')

# The packages with reactor code and concurrency, for -race and -tags invariants. The rest is
# rules about text, programs, and tests of the binary, which is built without either.
ALL  = $(call once,ALL,$(shell go list ./...))
CORE = $(call once,CORE,$(shell printf '%s\n' $(ALL) | grep -vE '/(internal/(lint|test/(battery|docs))|examples|cmd|packaging)(/|$$)'))

# $(call having,PATTERN,FILES) lists edge's packages with files that have a line like it.
having = $(shell grep -rlE $(or $(2),--include='*.go') '$(1)' . | \
	sed 's,/[^/]*$$,,; s,^\.,github.com/edge-proxy/edge,' | sort -u)

# Packages of CORE whose code starts goroutines, or whose tests start several. The tests of those that import the other
# packages show most of what the race detector would find there. ONLY are packages that have files for -race or -tags
# invariants alone, of which vet has seen all the other files.
STARTS  = ^\s*go [a-z]|\.Go\(
SEVERAL = $(shell grep -rcE --include='*_test.go' '$(STARTS)' . | \
	awk -F : '{ sub("/[^/]*$$", "", $$1); n[$$1] += $$2 } END { for (dir in n) if (n[dir] > 1) print dir }' | \
	sed 's,^\.,github.com/edge-proxy/edge,')
ONLY    = $(call once,ONLY,$(filter $(call having,^//go:build .*(invariants|race)),$(CORE)))
MEET    = $(call once,MEET,$(filter $(ONLY) $(SEVERAL) \
	$(call having,$(STARTS),--include='*.go' --exclude='*_test.go'),$(CORE)))

# make test races every third of them, others each day, and tests the rest plain. The long ones come first, so that no
# day has two of the longest.
THIRD ?=
RACED  = $(call once,RACED,$(if $(THIRD),$(shell printf '%s\n' $(filter $(MEET),$(SLOW)) $(filter-out $(SLOW),$(MEET)) | \
	awk 'NR % 3 == $(THIRD)'),$(MEET)))

# Packages that are raced are not tested plain once more in make test, but for the files of tests that have to be: they
# count allocations, or do less where they are raced. PLAIN matches the tests of these files.
ONCE     ?=
AS_BUILT = testutil\.(Allocs|RaceOn|OnlyPlain|RaceRounds)|AllocsPerRun|invariant\.On|^//go:build !
PLAIN    = ^($(shell grep -rlE --include='*_test.go' '$(AS_BUILT)' . | xargs grep -hoE '^func Test\w+' | cut -c 6- | \
	sort -u | paste -sd '|'))$$
# What is tested plain, and what is compiled for that.
WHOLLY  = $(if $(ONCE),$(filter-out $(RACED),$(ALL)),$(ALL))
PARTLY  = $(call once,PARTLY,$(if $(ONCE),$(filter $(RACED),$(call having,$(AS_BUILT),--include='*_test.go'))))

# The compiler spends a fifth of its processor time on collecting its garbage, which rarely reaches the limit.
COMPILING := GOGC=off GOMEMLIMIT=1GiB

# The packages whose tests take the longest. They begin first, and the rest has the processors meanwhile.
SLOW = $(addprefix github.com/edge-proxy/edge/,cmd/edge internal/server proxy proxy/cache engine internal/test/docs \
	examples internal/test/battery)

# $(call tests,FOLDER,OPTIONS,PACKAGES) runs the tests of packages. Where AGAIN names a folder, tests that failed run once
# more, each alone, and reports in AGAIN name them; unless they are more than 5, a package had no result at all, or a
# data race was found, which is a fault however rarely it is seen.
GOTESTSUM := bin/gotestsum-v1.13.0
RERUN     := --format=standard-quiet --rerun-fails=1 --rerun-fails-max-failures=5 --rerun-fails-abort-on-data-race
tests = cd $(1); $(if $(AGAIN),$(CURDIR)/$(GOTESTSUM) $(RERUN) --rerun-fails-report="$$(mktemp $(AGAIN)/report.XXXXXX)" \
	--packages='$(strip $(3))' -- $(2) $(FLAGS),go test $(2) $(FLAGS) $(3))

# $(call dirs,PATTERN) lists the packages whose tests match a pattern.
dirs = $(shell grep -rlE --include='*_test.go' '$(1)' . | sed 's,/[^/]*$$,,' | sort -u)

##@ Use
.PHONY: run
run: bin/edge ## a demo origin with edge in front of it, on http://127.0.0.1:8080
	@trap 'kill $$(jobs -p) 2>/dev/null || true; wait' EXIT; \
	bin/edge serve-demo --listen $(DEMO) & \
	echo "edge: http://$(LISTEN)  (Ctrl-C ends it)"; \
	bin/edge proxy --from $(LISTEN) --to $(DEMO) & wait $$!

.PHONY: build
build: bin/edge bin/edge-import bin/edge-bench ## the three binaries; TLS=boring with BoringCrypto

.PHONY: bin/edge bin/edge-import bin/edge-bench
bin/edge bin/edge-import:
	$(BUILD) -o $@ ./cmd/$(@F)

bin/edge-bench:
	cd cmd/edge-bench && $(BUILD) -o $(CURDIR)/$@ .

.PHONY: install
install: build ## the binaries into PREFIX=/usr/local, below DESTDIR
	install -D -m 755 -t '$(DESTDIR)$(PREFIX)/bin' bin/edge bin/edge-import bin/edge-bench

.PHONY: clean
clean: ## remove what these targets made
	rm -rf bin dist *.out

##@ Release
# DIST makes the files of a release. The module packaging/deb is not in MODULES: make test does without nfpm.
# What was made before stays until all is there.
DIST = rm -rf bin/dist.part && \
	go run -C packaging/dist . -version '$(VERSION)' -parts '$(PARTS)' -key '$(abspath $(KEY))' -out $(CURDIR)/bin/dist.part $(1) && \
	rm -rf dist && mv bin/dist.part dist
ALL_OF_IT := archives packages image chart notes

.PHONY: release
release: PARTS := $(ALL_OF_IT)
release: packages-deps ## dist/: all files of a release, of a tree without changes; VERSION=1.2.3 KEY=secret.key
	$(call DIST,-release)

.PHONY: dist
dist: PARTS := $(or $(PARTS),$(ALL_OF_IT))
dist: $(if $(filter-out archives,$(or $(PARTS),packages)),packages-deps) ## the same of any tree; PARTS=archives makes these alone
	$(call DIST,-commit '$(COMMIT)' -epoch '$(EPOCH)')

.PHONY: release-check
release-check: packages-deps bin/kube-apiserver ## each file of dist/ in use: installed, run, upgraded under load, on copies of this machine, as root
	$(call apt,qemu-aarch64-static:qemu-user-static wrk:wrk etcd:etcd-server,etcd)
	@[ -f dist/SHA256SUMS ] || { echo "dist/ has no release: make release, or make dist, makes one"; exit 1; }
	EDGE_RELEASE=$(CURDIR)/dist EDGE_RELEASE_KEY='$(abspath $(PUBLIC))' \
		go test -count=1 -timeout 30m $(FLAGS) -run '^TestRelease_' -v ./packaging
	@docs=$$(mktemp -d); trap 'rm -rf $$docs' EXIT; \
	go test -C packaging/helm/check -count=1 -timeout 20m $(FLAGS) -run '^TestChart$$' . \
		-chart $$(ls $(CURDIR)/dist/edge-chart-*.tgz) -rendered $$docs; \
	EDGE_CHART=$$docs EDGE_KUBE=$(CURDIR)/bin/kube-apiserver \
		go test -C internal/test/interop -count=1 -timeout 20m $(FLAGS) -run '^TestChart_applied$$' -v .

.PHONY: packages-check
packages-check: packages-deps ## installs, starts, updates and removes both packages on an overlay of this machine, as root
	cd packaging/deb && go vet . && go test $(FLAGS) .
	EDGE_PACKAGES=1 go test -count=1 -timeout 20m $(FLAGS) -v ./packaging

.PHONY: helm-check
helm-check: ## renders the Helm chart and reads it into the types of Kubernetes (compiles for minutes at first)
	cd packaging/helm/check && go vet . && go test -count=1 -timeout 20m $(FLAGS) .

# The module internal/test/interop/caddy is Caddy alone. Its first build takes minutes.
.PHONY: import-check
import-check: ## compares the answers of Caddy with those of what edge import makes of Caddyfiles (compiles for minutes at first)
	go build -C internal/test/interop/caddy -trimpath -buildvcs=false -o $(CURDIR)/bin/caddy \
		github.com/caddyserver/caddy/v2/cmd/caddy
	EDGE_CADDY=$(CURDIR)/bin/caddy go test -count=1 -timeout 10m $(FLAGS) -run Caddy ./cmd/edge-import/internal/importer

.PHONY: packages-deps
packages-deps: ## install what the tests of units, image and packages need, and rpmbuild (Debian)
	$(call apt,bwrap:bubblewrap nsenter:util-linux ip:iproute2 curl:curl systemd-analyze:systemd perl:perl-base \
		mandoc:mandoc rpmbuild:rpm minisign:minisign,)

.PHONY: dist-check
dist-check: packages-deps ## that make dist makes the same bytes from two folders with two caches (minutes)
	EDGE_SOAK=1 go test -C packaging/dist -count=1 -timeout 90m $(FLAGS) -run Release_reproducible -v .

##@ Test
# Fuzzing here is counted, not timed: before Go 1.27 a run that ends by time may fail with
# "context deadline exceeded" on a busy machine (go.dev/issue/75804). Go spends up to a minute on making each input
# smaller that reaches new code; here it gets 20 tries. The 10 minutes that go test gives a package are few on a slow
# machine: they are there to end what hangs. What vet has looked for go test does not, and without tables for debuggers
# a test links in half of the time. One package more than there are processors is tested at a time, since many tests
# wait for a clock or a process rather than compute; of those that call t.Parallel, 4 run at a time in a package. Types
# are checked for arm64 and darwin by internal/lint/elsewhere, in all packages and their tests; make soak builds for
# arm64. A test that fails and passes the second time, alone, is named as flaky at the end: it is the next thing to mend.
.PHONY: test
test: deps ## everything that must pass, each once and short (25 minutes of processor time)
	@begun=$$SECONDS; summary=; again=$$(mktemp -d); trap 'rm -rf $$again' EXIT; day=$$(date +%-j); \
	flaky() { \
		cat $$again/report.* 2>/dev/null | sed -nE 's,^([^/]*/[^.]*)\.(.*): 2 runs\, 1 failures$$,=== flaky: \1 \2,p' || true; \
	}; \
	for step in fmt compile vet unit race fuzz; do \
		printf '\n=== %s\n' $$step; from=$$SECONDS; \
		if ! $(MAKE) --no-print-directory $$step AGAIN=$$again ONCE=1 \
			THIRD=$(or $(THIRD),$$((day % 3))) TENTH=$(or $(TENTH),$$((day % 10))) \
			FLAGS="-short -timeout=20m -vet=off -ldflags=-s -p=$$(($$(nproc) + 1)) -parallel=4" \
			FUZZBUILD= FUZZTIME=3000x FUZZFLAGS=-test.fuzzminimizetime=20x; then \
			printf '\n=== summary%b\n' "$$summary"; flaky; printf '=== FAILED: make %s\n' $$step; exit 1; \
		fi; \
		summary+="\n  ok  $$(printf '%-12s %4d s' $$step $$((SECONDS - from)))"; \
	done; \
	printf '\n=== summary%b\n' "$$summary"; flaky; printf '=== all passed in %d s\n' $$((SECONDS - begun))

.PHONY: fmt
fmt: ## fail when gofmt would change a file
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "gofmt -w these:"; echo "$$files"; exit 1; }

# The supported releases of Go, the first of which go.mod names. The one that is installed builds for make test anyway; go
# downloads the other one.
RELEASES ?= 1.26.0 1.27.4
.PHONY: releases
releases: ## build edge with the supported release of Go that is not installed
	@for v in $(RELEASES); do \
		case $$(go env GOVERSION) in go$${v%.*}|go$${v%.*}.*) continue; esac; \
		GOTOOLCHAIN=go$$v go version && GOTOOLCHAIN=go$$v go build ./... || exit 1; \
	done

# Everything that vet, unit and race compile, and nothing else: each of them finds it in Go's cache.
.PHONY: compile
compile: ## all packages and tests, those of make race too
	$(COMPILING) go list -export ./... >/dev/null
	$(COMPILING) go list -export -test $(WHOLLY) $(PARTLY) >/dev/null
	@$(call each,$(COMPILING) go list -export -test ./... >/dev/null)
	CGO_ENABLED=1 $(COMPILING) go list -race -tags invariants -export -test $(RACED) >/dev/null

# The race detector is on because the target race builds with it: nothing is compiled for vet alone.
.PHONY: vet
vet: ## go vet of all modules, and with the tags of make race where there are files for them
	$(COMPILING) go vet ./...
	@$(call each,$(COMPILING) go vet ./...)
	$(COMPILING) go vet -C internal/test/interop -tags apps ./apps
	CGO_ENABLED=1 $(COMPILING) go vet -race -tags invariants $(filter $(RACED),$(ONLY))

.PHONY: lint
lint: ## the rules of internal/lint, and the lines that are linked into edge
	go test -count=1 ./internal/lint
	@go test -count=1 -run '^TestLinkedLines$$' -v ./internal/lint | grep -o '[0-9]* lines are.*'

# The modules are tested one after the other, beside edge's own packages.
.PHONY: unit
unit: ## go test ./... in all modules
	@$(MAKE) --no-print-directory -j2 -Oline $(addprefix unit-in/,edge $(TODAY))

.PHONY: unit-in/edge
unit-in/edge:
	$(call tests,.,,$(filter $(WHOLLY),$(SLOW)) $(filter-out $(SLOW),$(WHOLLY)))
	$(if $(PARTLY),$(call tests,.,-run '$(PLAIN)',$(PARTLY)))

unit-in/%:
	$(call tests,$*,,./...)

.PHONY: race
race: ## the tests of the core where goroutines may meet, under the race detector and with assertions
	export CGO_ENABLED=1; $(call tests,.,-race -tags invariants,$(filter $(RACED),$(SLOW)) $(filter-out $(SLOW),$(RACED)))

.PHONY: invariants
invariants: ## the tests of the core with assertions and poisoned buffers
	go test -tags invariants $(FLAGS) $(CORE)

.PHONY: others
others: ## build and vet all modules for arm64, and vet what is portable for darwin
	GOARCH=arm64 go build -buildvcs=false ./...
	GOARCH=arm64 go vet ./...
	@$(call each,GOARCH=arm64 go vet ./...)
	GOOS=darwin go vet $$(printf "%s\n" $(PORTABLE) | grep -v /internal/)

# An emulated processor runs the tests of packages that have code or layouts of memory for one processor, and of what is
# portable; then edge itself, with the cases of the RFCs. Without binfmt an emulated process starts no other one, so
# what executes its own file is left out. qemu 7.2 knows none of SO_DETACH_FILTER, SO_ATTACH_REUSEPORT_CBPF and
# SIOCOUTQNSD, and cuts TCP_INFO.
UNDER_QEMU := ./poller ./engine/... ./internal/l4/netconn ./internal/tls/tlsconn ./internal/process/supervisor \
	./internal/process/handover ./internal/process/lockdown
NOT_UNDER_QEMU := ^(TestRules_Enforce|TestRun_(followsTheService|killedService)|TestDoorway_stranger|TestUpgradeSocket_otherUser|TestEpoll_(AckNow|adoptSetsTheOptionsAgain|notSent|steer|lastBytesAndFIN.*))$$

.PHONY: arm64-check
arm64-check: ## the same code on an emulated arm64: unit tests, then edge and curl; installs qemu-user-static (Debian)
	$(call apt,qemu-aarch64-static:qemu-user-static,)
	GOARCH=arm64 go test -short -vet=off -exec qemu-aarch64-static -skip '$(NOT_UNDER_QEMU)' $(FLAGS) \
		$(PORTABLE) $(UNDER_QEMU)
	EDGE_QEMU_ARM64=qemu-aarch64-static go test -short -count=1 $(FLAGS) -run TestARM64 -v ./cmd/edge
	EDGE_QEMU_ARM64=qemu-aarch64-static go test -short -count=1 -vet=off $(FLAGS) ./internal/test/battery

# Two folders at a time: while one links, the other one fuzzes. The one whose targets take the longest begins. The seeds
# of all targets run in make unit and race; make test fuzzes those of every tenth folder, others each day.
TENTH ?=
FUZZED = $(call once,FUZZED,./tinyufo $(filter-out ./tinyufo,$(call dirs,^func Fuzz)))
.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME=30s
	@$(MAKE) --no-print-directory -j2 -Otarget $(addprefix fuzz-in/,$(if $(TENTH),$(shell printf '%s\n' $(FUZZED) | awk 'NR % 10 == $(TENTH)'),$(FUZZED)))

# One binary has all targets of a folder; go test would link one for each of them. Inputs that reach new code are kept
# where go test keeps them. A run that ends by time may fail with "context deadline exceeded", though nothing was found:
# see above.
fuzz-in/%:
	@dir=$$(mktemp -d); trap 'rm -rf $$dir' EXIT; \
	go test -C $* -c -vet=off -ldflags='-s -w' $(FUZZBUILD) -o $$dir/fuzz.test .; \
	cache=$$(go env GOCACHE)/fuzz/$$(go list -C $* .); \
	cd $*; \
	for target in $$($$dir/fuzz.test -test.list '^Fuzz'); do \
		echo "fuzz $* $$target $(FUZZTIME)"; \
		$$dir/fuzz.test -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) \
			-test.fuzzcachedir $$cache $(FUZZFLAGS) 2>&1 | tee $$dir/log || \
			{ grep -q 'context deadline exceeded' $$dir/log && ! grep -q 'Failing input' $$dir/log; } || exit 1; \
	done

.PHONY: sim
sim: ## the tests on the simulated kernel with TIMES=20 times their seeds, from SIM_FIRST=1
	EDGE_SIM_FIRST=$(SIM_FIRST) EDGE_SIM_TIMES=$(TIMES) \
		go test -count=1 -timeout 6h $(FLAGS) $(call dirs,internal/test/sim")

# Connections that change their reactor go through 10⁵ orders of events, one run of seeds for each processor.
.PHONY: sim-takeover
sim-takeover: ## the orders of a take-over: TAKEOVERS=100000 seeds from SIM_FIRST=1
	@dir=$$(mktemp -d); trap 'rm -rf $$dir' EXIT; \
	go test -c -o $$dir/proxy.test ./proxy; cd proxy; \
	each=$$((($(TAKEOVERS) + $$(nproc) - 1) / $$(nproc))); runs=; \
	for n in $$(seq 0 $$(($$(nproc) - 1))); do \
		EDGE_SIM_FIRST=$$(($(SIM_FIRST) + n * each)) EDGE_SIM_SEEDS=$$each \
			$$dir/proxy.test -test.run '^TestSim_takeOver$$' -test.timeout 6h & runs+=" $$!"; \
	done; \
	for run in $$runs; do wait $$run; done

# What fails does not keep the other parts from running, and fails the whole at its end, where the result, the seed and
# the time of each part stand; docs/design/soak.md gets a line of each. Tests of processes draw their moments from
# SOAK_SEED, too. ASKED are the counts that were asked for.
ASKED = $(foreach v,TAKEOVERS TIMES REPEATS SOAK_FUZZ FUZZED EDGE_SIM_SEEDS,$(if $(filter command environment,$(origin $v)), $v=$($v)))
.PHONY: soak
soak: build ## the full counts (about an hour on 2 processors); SOAK_SEED draws them, PARTS="race fuzz" runs these alone
	@seed=$${SOAK_SEED:-$$(date +%s)}; from=$$SECONDS; table=; failed=; now=; \
	export EDGE_TEST_SEED=$$seed; make="$(MAKE) --no-print-directory"; \
	tell() { \
		trap - EXIT; \
		[ -z "$$now" ] || failed+=" $$now was stopped;"; \
		for name in $(PARTS); do [[ "$$table$$now" == *"$$name"* ]] || failed+=" no $$name;"; done; \
		printf '\n=== soak of %s, SOAK_SEED=%s TAKEOVERS=%s TIMES=%s REPEATS=%s SOAK_FUZZ=%s\n%b  %d s:%s\n' \
			'$(VERSION) $(COMMIT)' $$seed $(TAKEOVERS) $(TIMES) $(REPEATS) $(SOAK_FUZZ) "$$table" $$((SECONDS - from)) \
			"$${failed:- all passed}"; \
	}; \
	trap tell EXIT; \
	part() { \
		local began=$$SECONDS result=ok; now=$$1; shift; \
		if [ -z '$(PARTS)' ] || [[ ' $(PARTS) ' == *" $$now "* ]]; then \
			printf '\n=== soak: %s\n' $$now; \
			"$$@" || { result=FAILED; failed+=" $$now failed;"; }; \
			table+="  $$(printf '%-6s %-12s %6d s' $$result $$now $$((SECONDS - began)))\n"; \
			printf '| %s | `%.12s` | %s | %s | %s | %d s | |\n' $$(date +%F) '$(COMMIT)' "$$now$(ASKED)" $$seed $$result \
				$$((SECONDS - began)) >>docs/design/soak.md; \
		fi; \
		now=; \
	}; \
	part others $$make others; \
	part arm64 $$make arm64-check; \
	part take-over $$make sim-takeover SIM_FIRST=$$seed; \
	part simulations $$make sim SIM_FIRST=$$seed; \
	part unit $$make unit; \
	part race env EDGE_SOAK=1 CGO_ENABLED=1 go test -race -tags invariants -count=$(REPEATS) -timeout 6h $(FLAGS) $(CORE); \
	part battery env EDGE_SOAK=1 go test -count=$(REPEATS) -timeout 6h $(FLAGS) ./internal/test/battery; \
	part guards env EDGE_SOAK=1 go test -count=1 -timeout 1h $(FLAGS) -v -run '^TestGuards$$' ./internal/filter/rules; \
	part failures env EDGE_SOAK=1 go test -count=1 -timeout 1h $(FLAGS) -run 'backendsFail|retryStorm|madeUpNames|ALargeOne' ./cmd/edge; \
	part upgrades env EDGE_SOAK=1 go test -count=1 -timeout 1h $(FLAGS) -run 'Upgrade' ./cmd/edge; \
	part disk env EDGE_SOAK=1 go test -count=1 -timeout 1h $(FLAGS) -run 'CacheDisk' ./cmd/edge; \
	part interop env EDGE_SOAK=1 go test -C internal/test/interop -count=$(REPEATS) -timeout 6h $(FLAGS) .; \
	part modules env EDGE_SOAK=1 go test -count=1 -timeout 1h $(FLAGS) -run 'TestBuild$$' ./cmd/edge; \
	part dist $$make dist-check; \
	part packages $$make packages-check; \
	part helm $$make helm-check; \
	part import $$make import-check; \
	part nginx env EDGE_SOAK_NGINX=1 go test -count=1 -run Nginx -timeout 1h $(FLAGS) ./ketama ./backend/balance; \
	part balance env EDGE_SOAK=1 go test -C bench -count=1 -timeout 2h $(FLAGS) -run Bars ./balance; \
	part linear env EDGE_SOAK=1 CGO_ENABLED=1 go test -C internal/test/outside -race -count=1 -timeout 6h $(FLAGS) -run Linear .; \
	part fuzz $$make fuzz FUZZTIME=$(SOAK_FUZZ); \
	part load bin/edge-bench proxy --peers edge,edge+log --rounds 3; \
	tell; \
	[ -z "$$failed" ]

# The module internal/test/kube is the API server alone. Its first build takes minutes and 2 GB of Go's cache.
.PHONY: bin/kube-apiserver
bin/kube-apiserver:
	go build -C internal/test/kube -trimpath -buildvcs=false -ldflags '-s -w' -o $(CURDIR)/$@ \
		k8s.io/kubernetes/cmd/kube-apiserver

.PHONY: nightly
nightly: bin/kube-apiserver ## a real API server of Kubernetes, built from its modules, BIND and etcd; installs etcd-server, bind9 (Debian)
	$(call apt,etcd:etcd-server named:bind9 nsupdate:bind9-dnsutils,etcd named)
	EDGE_KUBE=$(CURDIR)/bin/kube-apiserver go test -C internal/test/interop -count=1 -timeout 30m $(FLAGS) \
		-run 'TestDiscovery_kubernetes|TestServe_provesByBIND|TestServe_replicas$$|TestSite_|_etcd' -v .

# Installs what the machine lacks (Debian, npm); skips what cannot be had. Without a package go test prints the summary.
.PHONY: interop-apps
interop-apps: ## edge in front of Express, Django, docker-registry, git, Prometheus, Vite, grpc-go, nginx, http.server
	go test -C internal/test/interop/apps -tags apps -count=1 -timeout 30m $(FLAGS)

.PHONY: cover
cover: ## statement coverage in coverage.out, the total on the last line
	go test -short -coverpkg=./... -coverprofile=coverage.out $(CORE)
	@go tool cover -func=coverage.out | tail -n 1

##@ Measure
.PHONY: bench
bench: ## Go benchmarks: BENCH=regexp COUNT=10 OUT=new.out (all of them take more than an hour)
	@n=$$(grep -rhoE --include='*_test.go' '^func Benchmark\w+' . | cut -c 6- | grep -cE '$(BENCH)' || true); \
	echo "$$n functions, $(COUNT) times each: $$((n * $(COUNT) / 30 + 1)) minutes at least. A part of them:" \
		"make bench BENCH=Table COUNT=3"
	{ go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(FLAGS) ./...; \
		go test -C bench -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(FLAGS) ./...; } | tee $(OUT)

.PHONY: bench-micro
bench-micro: bin/edge-bench ## the hot functions beside their baselines, as ratios
	bin/edge-bench micro $(FLAGS)

.PHONY: bench-balance
bench-balance: bin/edge-bench ## how requests are balanced, simulated beside an ideal queue and other rules
	bin/edge-bench balance $(FLAGS)

.PHONY: benchcmp
benchcmp: ## benchstat of OLD=old.out and OUT=new.out
	go run golang.org/x/perf/cmd/benchstat@latest $(OLD) $(OUT)

.PHONY: bench-proxy
bench-proxy: build ## what a proxied request costs beside other proxies: ROUNDS=9
	bin/edge-bench proxy --rounds $(ROUNDS) $(FLAGS)

.PHONY: bench-deps
bench-deps: ## install nginx, haproxy, h2o, wrk and h2load (Debian) for bench-proxy
	$(call apt,nginx:nginx-light haproxy:haproxy h2o:h2o wrk:wrk h2load:nghttp2-client,nginx haproxy h2o)

##@ Machine
# curl, ssh and redis-cli are clients in the tests, and the docs tell readers to use openssl; the race detector links
# with a C compiler.
.PHONY: deps
deps: $(GOTESTSUM) ## install what the tests need and the machine lacks (Debian)
	$(call apt,curl:curl openssl:openssl ssh:openssh-client certutil:libnss3-tools redis-benchmark:redis-tools gcc:gcc gcc:libc6-dev \
		gtlsclient:ngtcp2-client gtlsserver:ngtcp2-server,ngtcp2d)
	@# As packages rsyslog and syslog-ng exclude each other, so a machine with syslog-ng keeps it.
	@if ! command -v syslog-ng >/dev/null; then $(MAKE) --no-print-directory deps-syslog; fi

$(GOTESTSUM):
	GOBIN=$(CURDIR)/bin go install gotest.tools/$(subst -,@,$(@F))
	mv bin/gotestsum $@

.PHONY: deps-syslog
deps-syslog: # rsyslog, and syslog-ng unpacked to bin/syslog-ng, where the release has the libraries that it needs
	$(call apt,rsyslogd:rsyslog rsyslogd:rsyslog-gnutls,rsyslog)
	@[ -x bin/syslog-ng/usr/sbin/syslog-ng ] || { libs="libivykis0 libjson-c5 libnet1 libpcre3 libwrap0"; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$libs && \
		mkdir -p bin/syslog-ng && cd bin/syslog-ng && apt-get -qq download syslog-ng-core && \
		dpkg-deb -x syslog-ng-core_*.deb . && rm syslog-ng-core_*.deb; } || \
		echo "syslog-ng cannot be had for this release: its test is skipped"

# $(call apt,COMMAND:PACKAGE …,SERVICES) installs the packages whose command is missing, and stops
# the services that Debian starts when it has installed one. A machine that has just started may be
# updating itself, and a mirror may be missing for a moment: it is tried again.
define apt
@missing=; for pair in $(1); do \
	PATH=$$PATH:/usr/sbin:/sbin command -v $${pair%:*} >/dev/null || missing+=" $${pair#*:}"; \
done; \
[ -n "$$missing" ] || exit 0; \
command -v apt-get >/dev/null || { echo "please install:$$missing"; exit 1; }; \
echo "installing$$missing"; \
for pause in 5 15 30 60 no; do \
	$(SUDO) apt-get -qq update || true; \
	! $(SUDO) env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $$missing || break; \
	[ $$pause != no ] || exit 1; \
	sleep $$pause; \
done; \
for service in $(2); do $(SUDO) service $$service stop >/dev/null 2>&1 || true; done
endef

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
