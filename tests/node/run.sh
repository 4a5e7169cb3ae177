#!/usr/bin/env bash
# `make test-node`: the image, the chart, the agent and the libraries on a real kubelet.
#
#   run.sh [TEST...]     names of tests to run; without any, all of them
#
# Builds a whole Kubernetes when the cache lacks it (17 minutes on two cores), makes the images of the tests' pods,
# then runs tests/tests/node inside network, mount and process namespaces of its own: nothing reaches the machine's
# network, /run or /var, and everything ends with the run, also on failure and on Ctrl-C. Cgroups have no
# namespace that containerd would respect: they lie below one folder of this run's, which is removed.
#
#   NSS_K8S_IMAGE          the image under test, an archive that `ctr images import` takes (default: make image)
#   NSS_K8S_IMAGE_PROFILE  of that build: release (default), or dev, which takes minutes less
#   NSS_K8S_CACHE          where Kubernetes and images are kept (default ${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s)
#   NSS_K8S_NODE_LOGS      a folder that gets the logs of a failed run
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
PATH=$PATH:/usr/sbin:/sbin

# The only reasons for which this ends well without having tested anything.
skip() {
    echo "test-node: SKIPPED, nothing was tested: $1" >&2
    exit 0
}
[[ $(id -u) == 0 ]] || skip "needs root, to make namespaces, mounts and cgroups"
unshare --net --mount --propagation private --pid --fork --mount-proc true 2>/dev/null ||
    skip "this root may not make network, mount and process namespaces (an unprivileged container?)"
cgroup=/sys/fs/cgroup/nss-k8s-probe.$$
[[ -e /sys/fs/cgroup/cgroup.controllers ]] || cgroup=/sys/fs/cgroup/memory/nss-k8s-probe.$$
{ mkdir "$cgroup" && rmdir "$cgroup"; } 2>/dev/null || skip "this root may not make cgroups (memory controller)"

for pair in go:golang openssl:openssl curl:curl ip:iproute2 nft:nftables gcc:gcc musl-gcc:musl-tools debootstrap:debootstrap; do
    command -v "${pair%%:*}" >/dev/null || { echo "run.sh: needs ${pair%%:*} (Debian: ${pair##*:}); make prepare" >&2; exit 1; }
done

# part NAME COMMAND...: says how long it took.
part() {
    local name=$1 began=$SECONDS
    shift
    "$@" || { echo "== $name: failed after $((SECONDS - began)) s" >&2; return 1; }
    echo "== $name: $((SECONDS - began)) s"
}

cache=${NSS_K8S_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s}
mkdir -p "$cache"

# Debian's packages would start containerd on a machine with an init: they are unpacked, not installed.
debian=$cache/node-debian
runtime() {
    local package work
    for package in containerd runc containernetworking-plugins; do
        [[ -d $debian/$package ]] && continue
        work=$(mktemp -d "$cache/.unpack.XXXXXX")
        (cd "$work" && { apt-get download -qq -o APT::Sandbox::User=root "$package" ||
            { apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root "$package"; }; } >&2)
        mkdir -p "$debian"
        dpkg-deb --extract "$work/$package"_*.deb "$work/$package"
        mv -T "$work/$package" "$debian/$package"
        rm -rf "$work"
    done
}

kubernetes() { programs=$(tests/cluster/build.sh "$cache" node); }

image() {
    [[ -z ${NSS_K8S_IMAGE:-} ]] || return 0
    make --no-print-directory image IMAGE_BILL=no IMAGE_PROFILE="${NSS_K8S_IMAGE_PROFILE:-release}"
    NSS_K8S_IMAGE=$root/build/nss-k8s-image.tar
}

export NSS_K8S_AGENT=${NSS_K8S_AGENT:-${CARGO_TARGET_DIR:-$root/target}/debug/nss-k8s}
export NSS_K8S_GUESTS=${NSS_K8S_GUESTS:-$root/build/guests}
tests() { cargo test --locked --quiet --no-run -p nss-k8s-tests --features node --test node; }

part "Kubernetes" kubernetes
(($#)) || part "the manifests" tests/manifests/run.sh
part "containerd" runtime
part "images of the tests' pods" tests/node/images.sh "$programs" "$cache/node-images"
part "the image under test" image
part "the image of another release" tests/node/other-release.sh "$NSS_K8S_IMAGE" "$root/build/other-release/image.tar"
part "the tests, compiled" tests

export NSS_K8S_NODE_PROGRAMS=$programs NSS_K8S_NODE_IMAGES=$cache/node-images NSS_K8S_IMAGE
export NSS_K8S_NODE_OTHER=$root/build/other-release/image.tar
export NSS_K8S_NODE_CNI=$debian/containernetworking-plugins/usr/lib/cni
export NSS_K8S_NODE_CGROUP=nss-k8s-node.$$
export PATH=$programs:$debian/containerd/usr/bin:$debian/runc/usr/sbin:$PATH

# The run's cgroups: the folder in every hierarchy (version 1), or the one in the only hierarchy.
cgroups() {
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        echo "/sys/fs/cgroup/$NSS_K8S_NODE_CGROUP"
        return
    fi
    local hierarchy
    for hierarchy in /sys/fs/cgroup/*/; do
        # Names such as cpu,cpuacct are linked under each half's.
        [[ -L ${hierarchy%/} ]] || echo "$hierarchy$NSS_K8S_NODE_CGROUP"
    done
}

# A process namespace dies with its first process, and that one with this script; then the cgroups are empty,
# as soon as the kernel has buried the last process.
run=
clean() {
    local folder try
    [[ -z $run ]] || { kill -KILL "$run" && wait "$run"; } 2>/dev/null || true
    for folder in $(cgroups); do
        for ((try = 0; try < 50; try++)); do
            [[ ! -d $folder ]] || find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [[ -d $folder ]] || break
            sleep 0.1
        done
        [[ ! -d $folder ]] || echo "run.sh: $folder is still in use" >&2
    done
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for folder in $(cgroups); do
    mkdir -p "$folder"
done

began=$SECONDS
setpriv --pdeathsig KILL unshare --net --mount --propagation private --pid --fork --mount-proc --kill-child=KILL \
    "$here/inside.sh" "$@" &
run=$!
status=0
wait "$run" || status=$?
run=
((status == 0)) || { echo "== the node's tests: failed after $((SECONDS - began)) s" >&2; exit "$status"; }
echo "== the node's tests: passed in $((SECONDS - began)) s; all of it took $SECONDS s"
