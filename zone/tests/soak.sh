#!/usr/bin/env bash
# The proofs of the zone at length, side by side: writers killed under readers for SOAK_SECONDS (default 1800),
# of the zone and of held answers, while the stores of random changes are replayed, from seeds that differ
# from run to run (a failure names its seed). Optimized, but with every check of the development build.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${SOAK_SECONDS:-1800}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target}/soak
export SOAK_SECONDS=$seconds REPLAY_SECONDS=$seconds CARGO_PROFILE_TEST_OPT_LEVEL=2
# As many threads as there are tests: all of them take the whole time.
cargo test --locked --quiet -p nss-k8s-zone --test proofs -- --test-threads 16 --nocapture killed every_prefix every_view random_calls
