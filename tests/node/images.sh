#!/usr/bin/env bash
# Makes the images that the pods of `make test-node` run, as archives that `ctr images import` reads:
#
#   images.sh PROGRAMS FOLDER    leaves FOLDER/{pause,debian,musl,coredns,golang}.tar
#
# debian   what debootstrap unpacks (minbase), unmodified: made once, as it takes minutes
# musl     a loader of musl, a busybox that is linked with it dynamically, and nothing of glibc
# golang   one static Go program (PROGRAMS/go-lookup-static), without any libc
# coredns  PROGRAMS/coredns, the cluster DNS
# pause    what holds a pod's namespaces
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
programs=${1:?usage: images.sh PROGRAMS FOLDER}
folder=${2:?usage: images.sh PROGRAMS FOLDER}
mkdir -p "$folder"
work=$(mktemp -d "$folder/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# archive NAME: the file system $work/NAME as the image nss-k8s.test/NAME:1, in the form of `docker save`.
archive() {
    local name=$1 files=$work/archive layer
    rm -rf "$files" && mkdir "$files"
    tar --create --directory "$work/$name" --sort=name --numeric-owner --file "$files/layer.tar" .
    layer=$(sha256sum <"$files/layer.tar" | cut -d ' ' -f 1)
    printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$(go env GOARCH)" "${2:+,\"Entrypoint\":[\"$2\"]}" "$layer" >"$files/config.json"
    printf '[{"Config":"config.json","RepoTags":["nss-k8s.test/%s:1"],"Layers":["layer.tar"]}]' "$name" >"$files/manifest.json"
    tar --create --directory "$files" --file "$work/$name.tar" manifest.json config.json layer.tar
    mv "$work/$name.tar" "$folder/$name.tar"
}

# stale NAME SOURCE...: whether the image is absent or older than one of its sources.
stale() {
    local target=$folder/$1.tar source
    shift
    [[ -e $target ]] || return 0
    for source; do
        [[ $source -nt $target ]] && return 0
    done
    return 1
}

if stale pause "$here/pause.c"; then
    mkdir "$work/pause"
    gcc -Os -Wall -Wextra -Werror -static -o "$work/pause/pause" "$here/pause.c"
    archive pause /pause
fi
if stale coredns "$(readlink -f "$programs/coredns")"; then
    install -D "$programs/coredns" "$work/coredns/coredns"
    archive coredns /coredns
fi
if stale golang "$programs/go-lookup-static"; then
    install -D "$programs/go-lookup-static" "$work/golang/go-lookup"
    archive golang /go-lookup
fi
busybox=$root/build/unpacked/busybox-musl/busybox
"$root/tests/tests/programs/busybox-musl.sh" "$busybox"
loader=/lib/ld-musl-$(uname -m).so.1
if stale musl "$busybox" "$loader"; then
    install -D "$busybox" "$work/musl/bin/busybox"
    install -D "$(readlink -f "$loader")" "$work/musl$loader"
    for applet in nslookup wget nc; do
        ln -s busybox "$work/musl/bin/$applet"
    done
    mkdir -p "$work/musl"/{etc,tmp,run}
    echo 'root:x:0:0:root:/:/bin/sh' >"$work/musl/etc/passwd"
    archive musl
fi
if stale debian; then
    echo "debootstrap: a Debian root for the image under test's pods (minutes)" >&2
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
        awk '$2 ~ /\/debian\/$/ { print $2; exit }')
    [[ -n $mirror ]] || { echo "apt on this machine knows no Debian mirror" >&2; exit 1; }
    # Its mounts of /proc and /sys end with this mount namespace.
    unshare --mount --propagation private debootstrap --variant=minbase bookworm "$work/debian" "$mirror" >"$work/log" 2>&1 ||
        { tail -n 20 "$work/log" >&2; exit 1; }
    rm -rf "$work/debian"/var/cache/apt "$work/debian"/var/lib/apt/lists "$work/debian"/dev/*
    archive debian
fi
