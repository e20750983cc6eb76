# What people and CI do with this project. `make` alone lists the targets.
# Everything that is installed goes into .cache/ and target/ of this folder; only missing Debian packages
# (python3-venv, bind9-dnsutils) come through apt-get, and only when make runs as root.

.DEFAULT_GOAL := help
SHELL := /bin/bash
# Rust may be installed without the login shell's PATH, as on a bare CI machine.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Property tests take the same random cases at each run, so that a red gate is red again on the next machine.
SEED := 1
CASES := 10000
QUESTIONS := 100000
FUZZ_SECONDS := 20
ENVOY_VERSIONS := 1.36.4 1.40.0
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := .cache/cargo-deny/$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.1
CARGO_FUZZ := .cache/cargo-fuzz/$(CARGO_FUZZ_VERSION)/bin
TOOLS := integration/tools
BENCH := integration/bench
# One profile and, with --workspace, one set of features for the demo and the tests: dependencies are compiled once.
DEMO := target/debug/demo
XCC := target/debug/xcc

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z0-9-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the binary xcc, optimised, as target/release/xcc
	cargo build --release --locked --package xcc

.PHONY: tools
tools: ## install what the demo and the tests need: Envoys, dnspython, grpcio, dig
	@$(TOOLS)/install-envoy.sh $(ENVOY_VERSIONS)
	@$(TOOLS)/install-python.sh
	@$(TOOLS)/install-dig.sh

.PHONY: demo-parts
demo-parts:
	@$(TOOLS)/install-envoy.sh $(lastword $(ENVOY_VERSIONS))
	@cargo build --locked --workspace --bin xcc --bin demo

.PHONY: demo
demo: demo-parts ## the main job on this machine, step by step, with a real Envoy; stays up until Ctrl-C
	@XCC_BINARY=$(XCC) $(DEMO)

.PHONY: demo-check
demo-check: demo-parts ## the same, non-interactive: exit status 0 when every step held
	@XCC_BINARY=$(XCC) $(DEMO) --check

.PHONY: latency
latency: ## how long a change of a manifest takes to the first request by name, over 50 changes
	@$(TOOLS)/install-envoy.sh $(lastword $(ENVOY_VERSIONS))
	@cargo build --locked --profile demo --workspace --bin xcc --bin latency
	@XCC_BINARY=target/demo/xcc target/demo/latency

.PHONY: test
test: tools ## all tests that need no root and no Kubernetes: unit, property, golden, real Envoys, real DNS clients
	PROPTEST_RNG_SEED=$(SEED) cargo test --locked --workspace --no-fail-fast

.PHONY: dns-check
dns-check: ## DNS beside NSD and Knot on random questions (QUESTIONS), Zonemaster, a million broken messages, a fuzz run (FUZZ_SECONDS)
	@$(BENCH)/tools/install-dns-peers.sh
	@cargo build --locked --workspace --bin dns-differential --bin dns-flood --bin dns-server
	@$(BENCH)/tools/zonemaster.sh target/debug/dns-server
	@$(BENCH)/tools/reply-source.sh target/debug/dns-server
	target/debug/dns-differential --questions $(QUESTIONS)
	target/debug/dns-flood
	@$(TOOLS)/install-cargo-tool.sh cargo-fuzz $(CARGO_FUZZ_VERSION)
	@mkdir -p .cache/fuzz
	cd dns && PATH=$$PATH:$(CURDIR)/$(CARGO_FUZZ) cargo fuzz run --sanitizer none --target-dir $(CURDIR)/target/fuzz respond \
		$(CURDIR)/.cache/fuzz fuzz/corpus/respond -- -max_total_time=$(FUZZ_SECONDS) -max_len=65535 -timeout=1 \
		-print_final_stats=0 -verbosity=0

.PHONY: explore
explore: ## many random sequences of xDS events (CASES of each kind), with a new seed: after changes of the protocol's state
	PROPTEST_CASES=$(CASES) cargo test --locked --package xcc-xds --lib convergence

.PHONY: bench-parts
bench-parts:
	@$(TOOLS)/install-envoy.sh $(ENVOY_VERSIONS)
	@$(BENCH)/tools/install-dns-peers.sh
	@$(BENCH)/tools/install-proxies.sh
	@integration/e2e/parts/build.sh coredns
	@$(BENCH)/tools/build.sh

.PHONY: bench
bench: bench-parts ## every figure that xcc claims, in turns with its peers (half an hour); writes docs/benchmarks.md and .json
	@target/release/bench-xds; xds=$$?; target/release/bench-dns && exit $$xds

.PHONY: bench-quick
bench-quick: bench-parts ## the same programs with one round and few sizes, in minutes; writes nothing
	@target/release/bench-xds --quick --dry-run
	@target/release/bench-dns --rounds 1 --long-rounds 1 --names 1000 --dry-run

.PHONY: instructions
instructions: ## instruction counts of the hot paths, held against the checked-in ones
	@$(BENCH)/tools/install-valgrind.sh
	@cargo build --locked --workspace --bin instructions
	@target/debug/instructions

.PHONY: e2e
e2e: ## two real Kubernetes clusters in network namespaces: the journey and everything that can happen to it (root)
	@cargo build --locked --workspace --bin xcc --bin xcc-e2e
	@XCC_BINARY=$(CURDIR)/$(XCC) target/debug/xcc-e2e run

.PHONY: e2e-up
e2e-up: ## the same clusters, with xcc in both, left running to play with
	@cargo build --locked --workspace --bin xcc --bin xcc-e2e
	@XCC_BINARY=$(CURDIR)/$(XCC) target/debug/xcc-e2e up

.PHONY: e2e-down
e2e-down: ## end them, and remove every trace
	@cargo build --locked --workspace --bin xcc-e2e
	@target/debug/xcc-e2e down

.PHONY: build-images
build-images: ## the static image xcc:dev, with docker, podman or buildah, whichever works here
	@manifests/build-images.sh

.PHONY: lint
lint: ## fmt, clippy with warnings as errors, cargo deny, generated files fresh
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	@$(TOOLS)/install-cargo-tool.sh cargo-deny $(CARGO_DENY_VERSION)
	$(CARGO_DENY) --log-level error check bans licenses sources
	@$(MAKE) --no-print-directory generate-check

.PHONY: fmt
fmt: ## format the code
	cargo fmt --all

.PHONY: golden-update
golden-update: ## rewrite the golden files from what the code makes now; look at the difference before committing
	UPDATE_GOLDEN=1 cargo test --locked --package xcc-envoy
	UPDATE_GOLDEN=1 cargo test --locked --package xcc-integration --test golden

.PHONY: generate
generate: ## make the checked-in generated files: the descriptor sets of Envoy's messages
	cargo run --locked --quiet --package xcc-envoy --example descriptors
	cargo run --locked --quiet --package xcc-xds --example xds-descriptors

.PHONY: generate-check
generate-check: ## fail if a generated file is not what the code generates
	cargo test --locked --quiet --workspace --test descriptors

.PHONY: clean
clean: ## remove what was built and installed
	cargo clean
	rm -rf .cache
