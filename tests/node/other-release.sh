#!/usr/bin/env bash
# Makes an image that stands for another release of nss-k8s: the agent of the image under test, under another version,
# with libraries whose build number is one less (`nss_k8s_stub::BUILD`), built from a copy of the tree.
#
#   other-release.sh IMAGE OUT
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
image=$(realpath "${1:?usage: other-release.sh IMAGE OUT}")
out=${2:?usage: other-release.sh IMAGE OUT}
version=0.0.1
copy=$root/build/other-release

# What was built from the copy is kept, and times with it: a second run builds only what changed. Files that are gone since
# must not stay.
rm -rf "$copy/tree"
mkdir -p "$copy/tree"
(cd "$root" && git ls-files -z Cargo.toml Cargo.lock Makefile rust-toolchain.toml .cargo zone stub nss-module shim agent explain tests |
    xargs -0 cp --parents --preserve=mode,timestamps -t "$copy/tree")
number=$(sed -n 's/^pub const BUILD: u64 = \([0-9]*\);.*/\1/p' "$root/stub/src/lib.rs")
sed -i "s/^pub const BUILD: u64 = $number;/pub const BUILD: u64 = $((number - 1));/" "$copy/tree/stub/src/lib.rs"
env -u NSS_K8S_GUESTS -u MAKEFLAGS -u MAKELEVEL CARGO_TARGET_DIR="$copy/target" \
    make --silent --no-print-directory -C "$copy/tree" guests >&2
for library in libnss_k8s.so.2 libnss_k8s_preload.so; do
    ! cmp --silent "$copy/tree/build/guests/$library" "$root/build/guests/$library" ||
        { echo "other-release.sh: $library is the same in both releases" >&2; exit 1; }
done

# The agent as the image has it, with its loader if it needs one.
files=$(mktemp -d "$copy/files.XXXXXX")
trap 'rm -rf "$files" "$files.layer"' EXIT
layer=$(tar --extract --to-stdout --file "$image" manifest.json | sed 's/.*"Layers":\["\([^"]*\)".*/\1/')
# Compressed or not: tar sees that in a file by itself.
tar --extract --to-stdout --file "$image" "$layer" >"$files.layer"
tar --extract --file "$files.layer" --directory "$files"
with_loader=()
! readelf --program-headers "$files/nss-k8s" | grep -q INTERP || with_loader=(--with-loader)
"$root/deploy/image/build.sh" --agent "$files/nss-k8s" --explain "$files/lib/nss-k8s/nss-k8s-explain" \
    --libraries "$copy/tree/build/guests" --version "$version" "${with_loader[@]}" --out "$out"
