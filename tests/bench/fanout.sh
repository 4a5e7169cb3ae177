#!/usr/bin/env bash
# What feeding AGENTS (5000) agents through NATS costs the API server, the NATS server and the publishers, against watches of
# WATCHERS ("0 100 200 400") agents, from which the same number is extrapolated: see tests/bench/fanout/main.rs. A cluster of SERVICES
# (1500) x ENDPOINTS (15); RATE (20) slices a second are written during the rollout, agents begin within JITTER (30) seconds.
#
#   fanout.sh     as root: it has network, mount and process namespaces of its own; needs Go, once, and Debian's nats-server
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
PATH=$PATH:/usr/sbin:/sbin
. "$here/keep.sh"

if [[ ${IN_NAMESPACE:-} != yes ]]; then
    [[ $(id -u) == 0 ]] || { echo "fanout.sh: needs root, to make namespaces" >&2; exit 1; }
    BENCH_NATS=${BENCH_NATS:-$root/build/unpacked/nats-server/usr/sbin/nats-server}
    [[ -x $BENCH_NATS ]] || { echo "fanout.sh: needs nats-server; make prepare" >&2; exit 1; }
    export BENCH_NATS
    BENCH_PROGRAMS=$(tests/cluster/build.sh "${NSS_K8S_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s}")
    export BENCH_PROGRAMS
    target=${CARGO_TARGET_DIR:-$root/target}
    export NSS_K8S_AGENT=${NSS_K8S_AGENT:-$target/debug/nss-k8s}
    cargo build --locked --quiet -p nss-k8s-tests --features cluster --bin bench-fanout
    export BENCH_PROGRAM=$target/debug/bench-fanout IN_NAMESPACE=yes
    exec unshare --net --mount --propagation private --pid --fork --mount-proc --kill-child=KILL "${BASH_SOURCE[0]}"
fi

ip link set lo up
# The API server's own address: it refuses to advertise a loopback one.
ip address add 10.244.0.1/32 dev lo
mount -t tmpfs -o mode=1777,size=6g nss-k8s-fanout /dev/shm
export BENCH_STATE=/dev/shm/fanout BENCH_KEYS=/dev/shm/fanout/keys
mkdir -p "$BENCH_KEYS"
tests/cluster/certificates.sh "$BENCH_KEYS"
{
    echo "$(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), $(uname -m), kernel $(uname -r | cut -d- -f1), $("$BENCH_PROGRAMS/kube-apiserver" --version), $("$BENCH_NATS" --version)"
} >&2
status=0
"$BENCH_PROGRAM" >/dev/shm/table || status=$?
if ((status)); then
    tail -n 8 "$BENCH_STATE"/*/logs/*.log | cut -c 1-400 >&2
    exit "$status"
fi
echo "load $(cut -d' ' -f1-3 /proc/loadavg)" >&2
keep_csv fanout </dev/shm/table
