# nss-k8s: every way in. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The two in-process libraries, under the names that libcs and ld.so know them by.
GUESTS   := $(CURDIR)/build/guests
TARGET   := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)
export NSS_K8S_GUESTS := $(GUESTS)
export NSS_K8S_AGENT  := $(TARGET)/debug/nss-k8s

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: prepare
prepare: ## install what Debian has to give (compilers for musl, name servers to compare with)
	@tests/prepare.sh

# With frame pointers the unwind tables have one row for a function's frame instead of one for each
# push and pop: 1.5 KB less in each library. Profilers can walk through them, too. Functions that are
# alike byte by byte are one: none of ours is told from another by its address.
GUEST_FLAGS := --config 'target."cfg(all())".rustflags=["-Cforce-frame-pointers=yes", "-Clink-arg=-Wl,--icf=all"]'

# One by one: the stub has more features for the preload library, which one call would give to both.
.PHONY: guests
guests: ## build libnss_k8s.so.2 and libnss_k8s_preload.so into build/guests
	cargo build --locked --quiet $(GUEST_FLAGS) --profile guest-module -p nss-k8s-nss
	cargo build --locked --quiet $(GUEST_FLAGS) --profile guest -p nss-k8s-shim
	@mkdir -p $(GUESTS)
	@install -m 0755 $(TARGET)/guest-module/libnss_k8s.so $(GUESTS)/libnss_k8s.so.2
	@install -m 0755 $(TARGET)/guest/libnss_k8s_preload.so $(GUESTS)/libnss_k8s_preload.so

.PHONY: agent
agent: ## build the agent (development profile)
	cargo build --locked --quiet -p nss-k8s-agent

# Linked statically, so that it can be copied into any container and run there.
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
.PHONY: explain
explain: ## build build/nss-k8s-explain, which says inside any pod who answers a name, and why
	cargo build --locked --quiet --profile release -p nss-k8s-explain --target $(HOST) \
		--config 'target.$(HOST).rustflags=["-Ctarget-feature=+crt-static"]'
	@install -D -m 0755 $(TARGET)/$(HOST)/release/nss-k8s-explain $(CURDIR)/build/nss-k8s-explain

.PHONY: demo
demo: prepare guests agent ## see it work: a small shop's names, answered inside getent, python3 and curl
	@deploy/demo/run.sh

.PHONY: test
test: prepare guests agent explain ## everything that needs no Go
	cargo test --locked
	zone/tests/weakened.sh

.PHONY: test-cluster
test-cluster: prepare guests agent ## against a real etcd, kube-apiserver, controller-manager and CoreDNS (needs Go)
	@tests/cluster/run.sh

.PHONY: bench
bench: prepare guests agent ## speed: the libraries against libc, the listener against CoreDNS (needs Go)
	@tests/bench/run.sh
	@tests/bench/external.sh
	@tests/bench/servers.sh

.PHONY: lint
lint: ## formatting, clippy in both profiles, rustdoc; warnings are errors
	cargo fmt --all --check
	cargo clippy --locked --workspace --exclude nss-k8s-nss --exclude nss-k8s-shim --all-targets -- -D warnings
	cargo clippy --locked --profile guest -p nss-k8s-nss -p nss-k8s-shim -p nss-k8s-stub -p nss-k8s-zone -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --no-deps --document-private-items --workspace --exclude nss-k8s-nss --exclude nss-k8s-shim

# cargo-deny lives outside the tree, so that a clean clone does not build it again.
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nss-k8s/tools
.PHONY: deny
deny: ## one version of each dependency, known licenses, one registry (installs cargo-deny)
	@test -x $(TOOLS)/bin/cargo-deny || env -u CARGO_TARGET_DIR cargo install --quiet --locked --root $(TOOLS) cargo-deny
	$(TOOLS)/bin/cargo-deny --locked check bans licenses sources

.PHONY: fuzz
fuzz: ## fuzz every parser of bytes for FUZZ_SECONDS each (default 60; needs a nightly toolchain)
	@tests/fuzz/run.sh
