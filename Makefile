# nss-k8s: every way in. `make help` lists the targets.
SHELL := /bin/bash
COMMA := ,
.DEFAULT_GOAL := help

# What is built is for this machine, or with HOST=aarch64-unknown-linux-gnu for another: then with Debian's cross compiler
# (gcc-aarch64-linux-gnu, libc6-dev-arm64-cross) and in a folder of its own.
MACHINE  := $(shell rustc -vV | sed -n 's/^host: //p')
HOST     := $(MACHINE)
OTHER    := $(filter-out $(MACHINE),$(HOST))
BUILD    := $(CURDIR)/build$(OTHER:%=/%)
CROSS    := $(if $(OTHER),--target $(OTHER) --config 'target.$(OTHER).linker="$(subst -unknown,,$(OTHER))-gcc"')

# The two in-process libraries, under the names that libcs and ld.so know them by.
GUESTS   := $(BUILD)/guests
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
# alike byte by byte are one: none of ours is told from another by its address. That takes Rust's own linker, which is
# the default for x86-64 alone.
LINKER      := $(shell rustc --print sysroot)/lib/rustlib/$(MACHINE)/bin/gcc-ld
GUEST_FLAGS := $(CROSS) --config 'target."cfg(all())".rustflags=["-Cforce-frame-pointers=yes", "-Clink-arg=-Wl,--icf=all" \
	$(if $(OTHER),$(COMMA) "-Clink-arg=-B$(LINKER)"$(COMMA) "-Clink-arg=-fuse-ld=lld")]'

# One by one: the stub has more features for the preload library, which one call would give to both.
.PHONY: guests
guests: ## build libnss_k8s.so.2 and libnss_k8s_preload.so into build/guests
	cargo build --locked --quiet $(GUEST_FLAGS) --profile guest-module -p nss-k8s-nss
	cargo build --locked --quiet $(GUEST_FLAGS) --profile guest -p nss-k8s-shim
	@mkdir -p $(GUESTS)
	@install -m 0755 $(TARGET)/$(OTHER:%=%/)guest-module/libnss_k8s.so $(GUESTS)/libnss_k8s.so.2
	@install -m 0755 $(TARGET)/$(OTHER:%=%/)guest/libnss_k8s_preload.so $(GUESTS)/libnss_k8s_preload.so

.PHONY: agent
agent: ## build the agent (development profile)
	cargo build --locked --quiet -p nss-k8s-agent

# Linked statically, so that they can be copied into any container and run there; without the names of this
# machine's folders, so that the same sources give the same bytes wherever they are built (the last prefix that fits counts,
# and the target directory may be inside the tree).
CARGO_HOME ?= $(HOME)/.cargo
STATIC := --profile release $(or $(CROSS),--target $(HOST)) --config 'profile.release.strip="symbols"' \
	--config 'target.$(HOST).rustflags=["-Ctarget-feature=+crt-static", "--remap-path-prefix=$(CARGO_HOME)=/cargo", \
		"--remap-path-prefix=$(CURDIR)=/nss-k8s", "--remap-path-prefix=$(TARGET)=/target"]'

.PHONY: explain
explain: ## build build/nss-k8s-explain, which says inside any pod who answers a name, and why
	cargo build --locked --quiet $(STATIC) -p nss-k8s-explain
	@install -D -m 0755 $(TARGET)/$(HOST)/release/nss-k8s-explain $(BUILD)/nss-k8s-explain

# The stub refers to these weakly, and optimization over all crates makes that weak for the standard library, too: a
# static link would leave them out, and the first call would be one to address 0 (docs/decisions/0033, 0039).
HOST_FUNCTIONS := malloc calloc free getenv getauxval clock_gettime dlsym dl_iterate_phdr gai_strerror \
	gnu_get_libc_version __errno_location __h_errno_location __res_state
.PHONY: agent-static
agent-static: ## build build/nss-k8s, the agent as the image holds it (release profile, linked statically)
	cargo rustc --locked --quiet $(STATIC) -p nss-k8s-agent --bin nss-k8s -- $(HOST_FUNCTIONS:%=-Clink-arg=-Wl,-u,%)
	@install -D -m 0755 $(TARGET)/$(HOST)/release/nss-k8s $(BUILD)/nss-k8s

# For tests: with IMAGE_PROFILE=dev the agent is the one that `make agent` builds (quick, large), with IMAGE_BILL=no
# there is no bill of materials inside (which takes its tools to build, and minutes to write).
IMAGE_PROFILE := release
IMAGE_BILL    := $(if $(filter dev,$(IMAGE_PROFILE)),no,yes)
IMAGE_AGENT   := $(if $(filter dev,$(IMAGE_PROFILE)),$(NSS_K8S_AGENT) --with-loader,$(BUILD)/nss-k8s)
IMAGE         := $(BUILD)/nss-k8s-image.tar
.PHONY: image
image: guests explain $(if $(filter dev,$(IMAGE_PROFILE)),agent,agent-static) $(if $(filter yes,$(IMAGE_BILL)),bill) ## build build/nss-k8s-image.tar, the container image, as an OCI archive
	@deploy/image/build.sh --agent $(IMAGE_AGENT) --explain $(BUILD)/nss-k8s-explain --libraries $(GUESTS) \
		--architecture $(subst x86_64,amd64,$(subst aarch64,arm64,$(firstword $(subst -, ,$(HOST))))) \
		$(if $(filter yes,$(IMAGE_BILL)),--bill $(BUILD)/bill) --out $(IMAGE)

.PHONY: bill
bill: ## say in build/bill what the image is made of: CycloneDX, license texts (installs two tools)
	@deploy/image/bill.sh $(BUILD)/bill $(HOST)

.PHONY: image-check
image-check: image agent ## the image as it is shipped: its tests, and the same bytes from another clone
	NSS_K8S_IMAGE=$(IMAGE) cargo test --locked -p nss-k8s-tests --test image
	@deploy/image/check.sh $(IMAGE)

.PHONY: demo
demo: prepare guests agent ## see it work: a small shop's names, answered inside getent, python3 and curl
	@deploy/demo/run.sh

.PHONY: test
test: prepare guests agent explain ## everything that needs no Go
	cargo test --locked
	zone/tests/weakened.sh

.PHONY: test-cluster
test-cluster: prepare guests agent ## against a real etcd, kube-apiserver, controller-manager and CoreDNS; pods by kwok (needs Go)
	@tests/cluster/run.sh

.PHONY: test-manifests
test-manifests: prepare ## the chart and Kustomize: the same objects, valid for Kubernetes 1.30 to 1.37 (needs Go)
	@tests/manifests/run.sh

.PHONY: test-node
test-node: prepare guests agent explain ## the image and the chart on a real kubelet and containerd (root; needs Go)
	@tests/node/run.sh

.PHONY: bench
bench: export RESULTS ?= $(CURDIR)/docs/benchmarks
bench: prepare guests agent ## speed: the libraries against libc, the listener against CoreDNS; writes docs/benchmarks (needs Go)
	@tests/bench/run.sh
	@tests/bench/external.sh
	@tests/bench/servers.sh
	@tests/bench/scale.sh
	@tests/bench/real.sh

.PHONY: bench-scale
bench-scale: export RESULTS ?= $(CURDIR)/docs/benchmarks
bench-scale: ## the agent alone, with 10,000 and 100,000 services: memory, latency (part of bench; 4 GB of memory)
	@tests/bench/scale.sh

.PHONY: bench-real
bench-real: export RESULTS ?= $(CURDIR)/docs/benchmarks
bench-real: prepare ## the agent on a real API server: 10,000 services, 3,000 pods (part of bench; root; needs Go; 4 GB of memory)
	@tests/bench/real.sh

.PHONY: bench-fanout
bench-fanout: export RESULTS ?= $(CURDIR)/docs/benchmarks
bench-fanout: prepare agent ## 5,000 agents behind NATS against watches of the API server; writes docs/benchmarks/fanout.csv (root; needs Go)
	@tests/bench/fanout.sh

.PHONY: plots
plots: ## write the tables and pictures of docs/BENCHMARKS.md anew, from docs/benchmarks/*.csv
	NSS_K8S_PLOTS=write cargo test --locked --quiet -p nss-k8s-tests --test benchmarks

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

.PHONY: soak
soak: ## kill the zone's writers, and replay their stores, for SOAK_SECONDS (default 1800)
	@zone/tests/soak.sh

.PHONY: fuzz
fuzz: ## fuzz every parser of bytes for FUZZ_SECONDS each (default 60; needs a nightly toolchain)
	@tests/fuzz/run.sh
