#!/usr/bin/env bash
# An agent (release build) on a real etcd and kube-apiserver that hold the generator's cluster of SIZES (10000) services with
# 15 endpoints each: see tests/bench/real/main.rs. RATE (100) changes a second for SECONDS_EACH (30) while latencies are
# measured, BURST (5000) as fast as the server takes them; then PODS (3000; 0: none) on NODES (100) that kwok plays. Some 10
# minutes and 4 GB of memory; SIZES=500 PODS=300 tries it in a minute.
#
# BENCH_AGENT is another agent than the one of this tree.
#
#   real.sh     as root: it has network, mount and process namespaces of its own; needs Go, once
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
PATH=$PATH:/usr/sbin:/sbin
. "$here/keep.sh"

if [[ ${IN_NAMESPACE:-} != yes ]]; then
    [[ $(id -u) == 0 ]] || { echo "real.sh: needs root, to make namespaces" >&2; exit 1; }
    BENCH_PROGRAMS=$(tests/cluster/build.sh "${NSS_K8S_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s}")
    export BENCH_PROGRAMS
    target=${CARGO_TARGET_DIR:-$root/target}
    [[ ${BENCH_AGENT:-} ]] || cargo build --locked --quiet --release -p nss-k8s-agent --bin nss-k8s
    cargo build --locked --quiet -p nss-k8s-tests --features cluster --bin bench-real
    export BENCH_AGENT=${BENCH_AGENT:-$target/release/nss-k8s} BENCH_PROGRAM=$target/debug/bench-real IN_NAMESPACE=yes
    exec unshare --net --mount --propagation private --pid --fork --mount-proc --kill-child=KILL "${BASH_SOURCE[0]}"
fi

ip link set lo up
# The API server's own address: it refuses to advertise a loopback one.
ip address add 10.244.0.1/32 dev lo
mount -t tmpfs -o mode=1777,size=8g nss-k8s-real /dev/shm
export BENCH_STATE=/dev/shm/real BENCH_KEYS=/dev/shm/real/keys
mkdir -p "$BENCH_KEYS"
tests/cluster/certificates.sh "$BENCH_KEYS"
echo "$(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), $(uname -m), kernel $(uname -r | cut -d- -f1), $("$BENCH_PROGRAMS/kube-apiserver" --version)" >&2
status=0
# shellcheck disable=SC2086
"$BENCH_PROGRAM" ${SIZES:-10000} >/dev/shm/table || status=$?
if ((status)); then
    tail -n 8 "$BENCH_STATE"/*/logs/*.log | cut -c 1-400 >&2
    exit "$status"
fi
echo "load $(cut -d' ' -f1-3 /proc/loadavg)" >&2
keep_csv real </dev/shm/table
