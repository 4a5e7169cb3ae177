#!/usr/bin/env bash
# Prints the roots of trust that Mozilla's program lists, as one file, out of Debian's package ca-certificates. The
# package is downloaded and unpacked into the given directory where that is absent: what is installed on this
# machine may be older, and may hold authorities of this machine's own.
#
#   certificates.sh DIR
set -euo pipefail
place=${1:?usage: certificates.sh DIR}
if [[ ! -d $place ]]; then
    command -v apt-get >/dev/null || { echo "certificates.sh: needs apt-get, or the unpacked package in $place" >&2; exit 1; }
    mkdir -p "$(dirname "$place")"
    work=$(mktemp -d "$place.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # As root apt warns that it does not change its user for a directory of ours.
    fetch() { (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root ca-certificates); }
    fetch 2>/dev/null || { [[ $(id -u) != 0 ]] || apt-get update -qq; fetch; }
    package=("$work"/ca-certificates_*.deb)
    dpkg -x "${package[0]}" "$work/root"
    dpkg-deb --field "${package[0]}" Version >"$work/root/version"
    mv -T "$work/root" "$place"
fi
find "$place/usr/share/ca-certificates/mozilla" -name '*.crt' | LC_ALL=C sort | xargs cat
