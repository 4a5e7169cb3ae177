#!/usr/bin/env bash
# One run of the cluster's tests, inside namespaces of its own that run.sh made (network, mounts, processes):
# what is started, bound or mounted here is gone with them, however this ends.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

ip link set lo up
# The API server's own address: it refuses to advertise a loopback one.
ip address add 10.244.0.1/32 dev lo
# The server that has the rest of the world's names, for CoreDNS.
ip address add 10.244.0.53/32 dev lo
mount -t tmpfs -o mode=1777,size=4g nss-k8s-cluster /dev/shm

export NSS_K8S_CLUSTER_STATE=/dev/shm/cluster
mkdir -p "$NSS_K8S_CLUSTER_STATE"/{pki,logs}
"$here/certificates.sh" "$NSS_K8S_CLUSTER_STATE/pki"

status=0
cargo test --offline --locked --quiet -p nss-k8s-tests --features cluster --test cluster -- --nocapture --test-threads=1 "$@" || status=$?
if ((status)); then
    shopt -s nullglob
    for log in "$NSS_K8S_CLUSTER_STATE"/logs/{,*/}*.log; do
        echo "--- the end of ${log##*/}"
        tail -n 25 "$log" | cut -c 1-400
    done >&2
    [[ -z ${NSS_K8S_CLUSTER_LOGS:-} ]] || cp -r "$NSS_K8S_CLUSTER_STATE/logs/." "$NSS_K8S_CLUSTER_LOGS/"
fi
exit "$status"
