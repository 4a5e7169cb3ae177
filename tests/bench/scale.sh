#!/usr/bin/env bash
# An agent at the sizes that it is built for: memory, the peak of a relist, how soon it answers, and how soon a change is
# visible in another process while 1,000 things happen each second; for all slices and for those of headless services. Its
# API server is made up (tests/src/fake_api). The sizes are SIZES (10,000 and 100,000 services with 15 endpoints each); the
# largest takes 4 GB of memory, all of it some five minutes. On a machine that has other things to do, RUNNER="chrt -r 5"
# keeps their share of the cores out of the latencies.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
. "$here/keep.sh"

cargo build --locked --quiet --release --manifest-path "$top/Cargo.toml" -p nss-k8s-agent -p nss-k8s-tests --bin nss-k8s --bin bench-scale
programs=${CARGO_TARGET_DIR:-$top/target}/release
# shellcheck disable=SC2086
${RUNNER:-} "$programs/bench-scale" "$programs/nss-k8s" ${SIZES:-10000 100000} | keep_csv scale
