#!/usr/bin/env bash
# `make test-cluster`: the agent and the two libraries against a real control plane.
#
#   run.sh [TEST...]     names of tests to run; without any, all of them
#
# Builds etcd, kube-apiserver, kube-controller-manager, CoreDNS and kwok when the cache lacks them (about 10 minutes on
# two cores), then runs tests/tests/cluster twice: with that etcd (streaming lists) and with Debian's etcd 3.4
# (paged lists). Each run has its own network, mount and process namespaces: nothing reaches the machine's
# network, and everything ends with the run, also on failure and on Ctrl-C.
#
#   NSS_K8S_CACHE          where the control plane is built (default ${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s)
#   NSS_K8S_CLUSTER_RUNS   which runs, default "streaming paged"
#   NSS_K8S_CLUSTER_LOGS   a folder that gets the logs of a failed run
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
PATH=$PATH:/usr/sbin:/sbin

[[ $(id -u) == 0 ]] || { echo "run.sh: needs root, to make network and mount namespaces" >&2; exit 1; }

# Debian's etcd is the old one on purpose. Its package starts no service by itself on a machine without an
# init; elsewhere it is unpacked and not installed, so that nothing is started and no user is made.
cache=${NSS_K8S_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s}
mkdir -p "$cache"
old_etcd() {
    local unpacked=$cache/debian-etcd
    if [[ ! -x $unpacked/usr/bin/etcd ]]; then
        echo "fetching Debian's etcd-server" >&2
        local download
        download=$(mktemp -d)
        chmod 755 "$download"
        (cd "$download" && { apt-get download -qq etcd-server || { apt-get update -qq && apt-get download -qq etcd-server; }; } >&2)
        rm -rf "$unpacked.new" && mkdir -p "$unpacked.new"
        dpkg-deb --extract "$download"/etcd-server_*.deb "$unpacked.new"
        rm -rf "$download" "$unpacked" && mv "$unpacked.new" "$unpacked"
    fi
    echo "$unpacked/usr/bin/etcd"
}
for pair in openssl:openssl curl:curl ip:iproute2 unshare:util-linux gcc:gcc musl-gcc:musl-tools; do
    command -v "${pair%%:*}" >/dev/null || { echo "run.sh: needs ${pair%%:*} (Debian: ${pair##*:}); make prepare" >&2; exit 1; }
done

# The other libcs, while there is a network.
tests/libcs/unpack.sh >/dev/null
programs=$("$here/build.sh" "$cache")
old=$(old_etcd)
export NSS_K8S_CLUSTER_PROGRAMS=$programs
export NSS_K8S_AGENT=${NSS_K8S_AGENT:-${CARGO_TARGET_DIR:-$root/target}/debug/nss-k8s}
export NSS_K8S_GUESTS=${NSS_K8S_GUESTS:-$root/build/guests}
cargo test --locked --quiet --no-run -p nss-k8s-tests --features cluster --test cluster

# A process namespace dies with its first process, and that one with this script.
run=
trap '[[ -z $run ]] || kill -KILL "$run" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for lists in ${NSS_K8S_CLUSTER_RUNS:-streaming paged}; do
    case $lists in
        streaming) etcd=$programs/etcd ;;
        paged) etcd=$old ;;
        *) echo "run.sh: no run is called $lists" >&2; exit 1 ;;
    esac
    echo "== $lists lists: $("$etcd" --version | head -1), $("$programs/kube-apiserver" --version)"
    began=$SECONDS
    NSS_K8S_CLUSTER_ETCD=$etcd NSS_K8S_CLUSTER_LISTS=$lists \
        unshare --net --mount --propagation private --pid --fork --mount-proc --kill-child=KILL \
        "$here/inside.sh" "$@" &
    run=$!
    wait "$run" || { echo "== $lists lists: failed" >&2; exit 1; }
    run=
    echo "== $lists lists: passed in $((SECONDS - began)) s"
done
