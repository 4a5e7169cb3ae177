#!/usr/bin/env bash
# Builds what `make test-cluster` runs: etcd, kube-apiserver, kube-controller-manager, CoreDNS, and kwok, which plays kubelet.
#
#   build.sh CACHE            leaves the programs in a folder of CACHE and prints that folder on stdout
#   build.sh CACHE coredns    only CoreDNS, which the benches compare with
#   build.sh CACHE node       also what `make test-node` runs: kube-scheduler, kubelet, kube-proxy, kubectl, helm,
#                             csi-sanity, kubeconform
#   build.sh CACHE NAME       only that program, one of the above
#
# The versions stand in the go.mod of kubernetes, etcd, coredns, kwok, helm, csi-sanity and kubeconform (a module of our own each: `go install`
# refuses k8s.io/kubernetes because it replaces its staging modules by folders), and every module's hash in go.sum.
# A program that is there already is not built again; Go's own build cache makes the rest cheap.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${1:?usage: build.sh CACHE [coredns|node|NAME]}
only=${2:-}

command -v go >/dev/null || { echo "build.sh: needs Go 1.26 or newer on the PATH" >&2; exit 1; }

# required MODULE FOLDER: the version that FOLDER/go.mod requires of MODULE.
required() {
    (cd "$here/$2" && go list -mod=readonly -m -f '{{.Version}}' "$1")
}

kubernetes=$(required k8s.io/kubernetes kubernetes)
etcd=$(required go.etcd.io/etcd/server/v3 etcd)
coredns=$(required github.com/coredns/coredns coredns)
programs=$cache/kubernetes-$kubernetes-etcd-$etcd
mkdir -p "$programs"

# Without these the server calls itself v0.0.0-master, which clients cannot parse.
IFS=. read -r major minor _ <<<"${kubernetes#v}"
flags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor"
done

# build FOLDER PACKAGE NAME: renamed into place at the end, so that an interrupted build leaves nothing.
build() {
    [[ -x $programs/$3 ]] && return
    local began=$SECONDS
    echo "building $3 ($2)" >&2
    (cd "$here/$1" && CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false -trimpath" \
        nice go build -p 2 -ldflags "$flags" -o "$programs/$3.new" "$2")
    mv "$programs/$3.new" "$programs/$3"
    echo "built $3 in $((SECONDS - began)) s" >&2
}

# Its plugins are ours to choose, so the program is another one when they change.
plugins=$(cat "$here"/coredns/main.go "$here"/coredns/go.sum | sha256sum | cut -c1-8)
build coredns . "coredns-$coredns-$plugins"
ln -sfn "coredns-$coredns-$plugins" "$programs/coredns"
kwok() {
    local version
    version=$(required sigs.k8s.io/kwok kwok)
    build kwok sigs.k8s.io/kwok/cmd/kwok "kwok-$version"
    ln -sfn "kwok-$version" "$programs/kwok"
}
kube() { build kubernetes "k8s.io/kubernetes/cmd/$1" "$1"; }
case $only in
    coredns | "" | node) ;;
    etcd) build etcd go.etcd.io/etcd/server/v3 etcd ;;
    helm) build helm helm.sh/helm/v4/cmd/helm helm ;;
    csi-sanity) build csi-sanity github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity csi-sanity ;;
    kwok) kwok ;;
    kubeconform) build kubeconform github.com/yannh/kubeconform/cmd/kubeconform kubeconform ;;
    kube*) kube "$only" ;;
    *) echo "build.sh: no program is called $only" >&2; exit 1 ;;
esac
if [[ -n $only && $only != node ]]; then
    echo "$programs"
    exit
fi

build etcd go.etcd.io/etcd/server/v3 etcd
kube kube-apiserver
kube kube-controller-manager
[[ $only == node ]] || kwok
if [[ $only == node ]]; then
    for name in kube-scheduler kubelet kube-proxy kubectl; do
        kube "$name"
    done
    build helm helm.sh/helm/v4/cmd/helm helm
    build csi-sanity github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity csi-sanity
    build kubeconform github.com/yannh/kubeconform/cmd/kubeconform kubeconform
    (cd "$here/csi-sanity" && CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false -trimpath" \
        nice go build -p 2 -ldflags "-s -w" -o "$programs/csi-controller" .)
fi

# Programs of our own that look names up: through libc where Go finds a reason to, without any libc as a static
# program, and without any libc but with its loader. Go's build cache knows whether there is anything to do.
lookup() {
    local name=$1 cgo=$2
    shift 2
    (cd "$here/go-lookup" && CGO_ENABLED=$cgo GOFLAGS="-mod=readonly -buildvcs=false -trimpath" \
        nice go build -p 2 "$@" -o "$programs/$name" .)
}
lookup go-lookup-cgo 1
lookup go-lookup-static 0
lookup go-lookup-pie 0 -buildmode=pie
echo "$programs"
