#!/usr/bin/env bash
# One run of the node's tests, inside namespaces of its own that run.sh made (network, mounts, processes): what is
# started, bound or mounted here is gone with them, however this ends.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

# A node's file system, of which the machine sees nothing: kubelet's, containerd's and the chart's usual paths.
mount -t tmpfs -o mode=0755,size=64m nss-k8s-node /run
mount -t tmpfs -o mode=0755,size=6g nss-k8s-node /var/lib
mount -t tmpfs -o mode=0755,size=512m nss-k8s-node /var/log
mount -t tmpfs -o mode=1777,size=1g nss-k8s-node /dev/shm
mkdir -p /run/netns /run/lock /var/lib/{kubelet,containerd,cni}
# What a pod mounts by Bidirectional propagation must reach the node and other pods, and nobody else.
mount --make-rshared /

# The node's address is the bridge's: it is there before the first pod, and the bridge plugin takes it over.
ip link set lo up
ip link add cni0 type bridge
ip address add 10.244.0.1/24 dev cni0
ip address add fd00:10:244::1/64 dev cni0 nodad
ip link set cni0 up
# A node has a default route, and so a way for services before kube-proxy translates them; here these suffice.
ip route add 10.96.0.0/16 dev cni0
ip -6 route add fd00:10:96::/112 dev cni0
# The rest of the world's name server, on an address that no pod and no node has.
ip address add 198.51.100.53/32 dev lo
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
# Without this, what one pod answers another would not come back through kube-proxy's translation.
for family in ip ip6; do
    sysctl -qw "net.bridge.bridge-nf-call-${family}tables=1" ||
        { echo "inside.sh: the kernel has no br_netfilter; modprobe br_netfilter" >&2; exit 1; }
done

export NSS_K8S_NODE_STATE=/dev/shm/node
mkdir -p "$NSS_K8S_NODE_STATE"/{pki,logs,cni}
"$here/../cluster/certificates.sh" "$NSS_K8S_NODE_STATE/pki" node

# Errors name their place already.
export RUST_BACKTRACE=0
status=0
cargo test --offline --locked --quiet -p nss-k8s-tests --features node --test node -- --nocapture --test-threads=1 "$@" || status=$?
if ((status)); then
    for log in "$NSS_K8S_NODE_STATE"/logs/*.log; do
        echo "--- the end of ${log##*/}"
        # These programs complain every few seconds of what only an aggregated API would need.
        grep -v requestheader-client-ca-file "$log" | tail -n 12 | cut -c 1-600
    done >&2
    for log in /var/log/pods/nss-k8s_*/*/*.log; do
        [[ ! -e $log ]] || { echo "--- the end of ${log#/var/log/pods/}" && tail -n 25 "$log" | cut -c 1-600; }
    done >&2
    [[ -z ${NSS_K8S_NODE_LOGS:-} ]] || cp -r /var/log/pods "$NSS_K8S_NODE_LOGS/"
    [[ -z ${NSS_K8S_NODE_LOGS:-} ]] || cp -r "$NSS_K8S_NODE_STATE/logs/." "$NSS_K8S_NODE_LOGS/"
fi
exit "$status"
