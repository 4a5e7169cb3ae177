#!/usr/bin/env bash
# Builds the image again, from a fresh clone of this commit at another path with another target directory, and
# compares the archives byte by byte. Takes as long as a first build.
#
#   check.sh ARCHIVE          what `make image` made out of this commit
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
archive=$(realpath "${1:?usage: check.sh ARCHIVE}")
if [[ -n $(git -C "$root" status --porcelain --untracked-files=no) ]]; then
    echo "check.sh: there are changes that are not committed: another clone cannot be the same" >&2
    exit 1
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/nss-k8s-image-check.XXXXXX")
trap 'rm -rf "$work"' EXIT
git clone --quiet "$root" "$work/a-clone-at-another-path"
git -C "$work/a-clone-at-another-path" checkout --quiet --detach "$(git -C "$root" rev-parse HEAD)"
# What the packages hold is not the question here; downloading them again would only ask for a network.
mkdir "$work/a-clone-at-another-path/build"
cp -r "$root/build/unpacked" "$work/a-clone-at-another-path/build/unpacked"
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
