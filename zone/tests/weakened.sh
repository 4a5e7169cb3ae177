#!/usr/bin/env bash
# The proofs that need another build of the zone: the loom models, and the soak's control run, in
# which readers do not compare epochs and must therefore catch torn answers. Each has a target
# directory of its own, so that nothing else is built again.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/../target}
# Thousands of executions, many of which end in a panic that is expected.
export CARGO_PROFILE_TEST_OPT_LEVEL=2 RUST_BACKTRACE=0
run() {
    local name=$1 flags=$2
    shift 2
    CARGO_TARGET_DIR=$target/$name RUSTFLAGS=$flags cargo test --locked --quiet -p nss-k8s-zone "$@"
}
echo "== loom models, each with its weakened variants"
run loom "--cfg loom" --lib model
echo "== control: the soak without the epoch check"
run weakened '--cfg nss_k8s_weaken="epoch"' --test proofs torn_answers -- --nocapture
