# The only door: `make help` lists what is behind it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# Where results, logs and reports go.
ARTIFACTS := $(abspath $(or $(HERALD_ARTIFACTS),artifacts))
PYTHON := .venv/bin/python
RESULTS := $(ARTIFACTS)/results

# Flags of `herald serve` for `make run`, of programs for others, and what `make test-clients` hands to pytest.
ARGS ?=
PYTEST_ARGS ?=
# How many runs of pytest go on side by side. Most tests wait more than they work; a file's tests stay together.
PYTEST_WORKERS ?= 3
FUZZ_SECONDS ?= 60

PYTEST := $(PYTHON) -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder

# Undefined behaviour in C traps; the Swift runtime then prints what it was and where. Swift itself has no such
# sanitizer on Linux. -fsanitize=function is left out: llhttp calls its span callbacks through one cast type.
UNDEFINED := -Xcc -fsanitize=undefined -Xcc -fsanitize-trap=undefined -Xcc -fno-sanitize=function
ADDRESS := --sanitize=address $(UNDEFINED) --scratch-path .build-asan
THREAD := --sanitize=thread --scratch-path .build-tsan
# The runtimes' own leaks are named in the file; nothing of ours is. What was freed is kept for a while to catch its use:
# little of it, because tests look at how much memory the server takes.
ADDRESS_OPTIONS := ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:quarantine_size_mb=16 \
	LSAN_OPTIONS=suppressions=$(abspath scripts/lsan.supp):print_suppressions=0
TSAN_SUPPRESSIONS := $(abspath scripts/tsan.supp)
THREAD_OPTIONS := TSAN_OPTIONS=halt_on_error=0:exitcode=66:second_deadlock_stack=1:suppressions=$(TSAN_SUPPRESSIONS)

# Only for the tests: the server takes each HERALD_ variable for a setting.
test-clients check-address check-thread autobahn measure soak: export HERALD_ARTIFACTS := $(ARTIFACTS)

.PHONY: help run example-chat example-dashboard example-orders build test test-swift test-clients tidy check check-address check-thread fuzz autobahn measure soak \
	bench clean setup-build setup-test setup-bench

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: build ## Builds and runs the server; flags of `herald serve` in ARGS
	exec .build/release/herald serve $(ARGS)

example-chat example-dashboard example-orders: example-%: build
	exec python3 examples/run.py $*

example-chat: ## Runs a chat: rooms, history, nothing lost across a cut
example-dashboard: ## Runs a dashboard of live metrics; its tabs share one connection
example-orders: ## Runs an order tracker: tokens, renewals, resuming where a page was

build: setup-build ## Builds the release binary, .build/release/herald
	swift build -c release --product herald

# Both runners always run, so that one failure does not hide another.
test: setup-test ## Runs all tests: Swift's, then the clients'
	@failed=; \
	$(MAKE) --no-print-directory test-swift || failed="$$failed test-swift"; \
	$(MAKE) --no-print-directory test-clients || failed="$$failed test-clients"; \
	if [ -n "$$failed" ]; then echo "make test: failed:$$failed" >&2; exit 1; fi

test-swift: setup-build ## Runs the Swift tests
	@mkdir -p $(RESULTS) && rm -f $(RESULTS)/swift*.xml
	swift test --disable-xctest --xunit-output $(RESULTS)/swift.xml

test-clients: build setup-test ## Runs clients, ours and those we did not write, against the release binary; pytest's flags in PYTEST_ARGS
	@mkdir -p $(RESULTS) && rm -f $(RESULTS)/clients.xml
	$(PYTEST) Tests/Clients --junitxml=$(RESULTS)/clients.xml $(PYTEST_ARGS)

tidy: setup-build ## Checks form: Swift, C, shell and Python sources, and the rules in TidyTests
	swift format lint --strict --recursive --parallel Package.swift Sources Tests
	@if command -v clang-format >/dev/null && [ -e .clang-format ]; then \
		git ls-files -z --cached --others --exclude-standard 'CModules/*.c' 'CModules/*.h' 'Tests/*.c' 'Tests/*.h' 'bench/*.c' 'bench/*.h' \
			| xargs -0 -r clang-format --dry-run --Werror; \
	else echo "tidy: no clang-format here; C's form was not checked"; fi
	@for script in scripts/*.sh .ci/run; do bash -n "$$script"; done
	python3 scripts/check_python.py scripts Tests/Clients bench examples
	swift test --disable-xctest --filter TidyTests

check: test check-address check-thread ## What a merge needs: all tests, then again under sanitizers

check-address: setup-test ## Tests under the address and undefined-behaviour sanitizers
	@mkdir -p $(RESULTS)
	$(ADDRESS_OPTIONS) swift test $(ADDRESS) --disable-xctest
	swift build $(ADDRESS) --product herald
	$(ADDRESS_OPTIONS) HERALD_BINARY=.build-asan/debug/herald HERALD_TEST_PATIENCE=4 \
		$(PYTEST) Tests/Clients --junitxml=$(RESULTS)/clients-address.xml $(PYTEST_ARGS)

check-thread: setup-test ## Tests under the thread sanitizer
	@mkdir -p $(RESULTS)
	$(THREAD_OPTIONS) swift test $(THREAD) --disable-xctest
	swift build $(THREAD) --product herald
	$(THREAD_OPTIONS) HERALD_BINARY=.build-tsan/debug/herald HERALD_TEST_PATIENCE=6 \
		$(PYTEST) Tests/Clients --junitxml=$(RESULTS)/clients-thread.xml $(PYTEST_ARGS)

fuzz: setup-build ## Fuzzes each parser for FUZZ_SECONDS
	scripts/fuzz.sh $(FUZZ_SECONDS)

autobahn: build setup-test ## Runs Autobahn's WebSocket cases, plain and by TLS; writes reports
	$(PYTHON) Tests/Clients/conformance.py --report $(ARTIFACTS)/autobahn
	$(PYTHON) Tests/Clients/conformance.py --tls --report $(ARTIFACTS)/autobahn-tls

measure: build setup-test ## Measures memory per idle connection, and what a stalled reader costs
	@mkdir -p $(ARTIFACTS)/measure
	$(PYTHON) Tests/Clients/measure_idle.py --json $(ARTIFACTS)/measure/idle.json
	$(PYTHON) Tests/Clients/measure_stall.py --json $(ARTIFACTS)/measure/stall.json

soak: build setup-test ## Churns all transports for 20 minutes, or as ARGS="--minutes N" says; nothing may be lost or grow
	$(PYTHON) scripts/soak.py --json $(ARTIFACTS)/soak.json $(ARGS)

bench: build setup-bench ## Compares with the floor and with nginx and Nchan side by side; flags of bench/run.py in ARGS
	@mkdir -p $(ARTIFACTS)/bench
	python3 bench/run.py --json $(ARTIFACTS)/bench/bench.json --markdown $(ARTIFACTS)/bench/bench.md \
		--svg $(ARTIFACTS)/bench/bench.svg $(ARGS)

clean: ## Removes everything that was built
	rm -rf .build .build-asan .build-tsan .venv artifacts

setup-build:
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh test

setup-bench:
	@scripts/setup.sh bench
