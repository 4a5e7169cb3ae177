#!/usr/bin/env bash
# Builds the image again, from a fresh clone of its commit at another path with another target directory, and compares
# the archives byte by byte. Takes as long as a first build.
#
#   check.sh ARCHIVE          what `make image` made
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
archive=$(realpath "${1:?usage: check.sh ARCHIVE}")
inside() { tar --extract --to-stdout --file "$archive" "$1"; }
config=$(inside manifest.json | sed 's/.*"Config":"\([^"]*\)".*/\1/')
revision=$(inside "$config" | sed 's/.*"org.opencontainers.image.revision":"\([^"]*\)".*/\1/')
if [[ $revision == *-modified ]]; then
    echo "check.sh: it was built with changes that are not committed: no clone can be the same" >&2
    exit 1
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/nss-k8s-image-check.XXXXXX")
trap 'rm -rf "$work"' EXIT
git clone --quiet "$root" "$work/a-clone-at-another-path"
git -C "$work/a-clone-at-another-path" checkout --quiet --detach "$revision"
# What the package holds is not the question here; downloading it again would only ask for a network.
mkdir -p "$work/a-clone-at-another-path/build/unpacked"
cp -r "$root/build/unpacked/ca-certificates" "$work/a-clone-at-another-path/build/unpacked"
env -u CARGO_TARGET_DIR -u NSS_K8S_GUESTS -u NSS_K8S_AGENT -u MAKEFLAGS -u MAKELEVEL \
    make --no-print-directory -C "$work/a-clone-at-another-path" image
if ! cmp "$archive" "$work/a-clone-at-another-path/build/nss-k8s-image.tar"; then
    for file in guests/libnss_k8s.so.2 guests/libnss_k8s_preload.so nss-k8s nss-k8s-explain bill/nss-k8s.cdx.json bill/THIRD-PARTY-LICENSES.txt; do
        cmp "$root/build/$file" "$work/a-clone-at-another-path/build/$file" || true
    done
    echo "check.sh: the archives differ" >&2
    exit 1
fi
echo "the same bytes from $work/a-clone-at-another-path"
