#!/usr/bin/env bash
# Builds a busybox that is linked dynamically with musl, as Alpine's is, into the file given: Debian
# has none. Its source is Debian's, from the mirror that this machine's apt already uses, of one
# known hash; a few applets that resolve names are enough.
set -euo pipefail
target=${1:?usage: busybox-musl.sh FILE}
[[ -x $target ]] && exit 0
version=1.35.0
hash=faeeb244c35a348a334f4a59e44626ee870fb07b6884d68c10ae8bc19f83a694
archive=busybox_$version.orig.tar.bz2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
    awk '$2 ~ /\/debian\/$/ { print $2; exit }')
[[ -n $mirror ]] || { echo "apt on this machine knows no Debian mirror" >&2; exit 1; }
cd "$work"
/usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root download-file "${mirror}pool/main/b/busybox/$archive" "$archive" \
    "SHA256:$hash" >&2
tar xf "$archive"
cd "busybox-$version"
# Headers of the kernel, which musl-gcc does not look for.
mkdir kernel
for folder in /usr/include/{linux,asm-generic,mtd} "/usr/include/$(uname -m)-linux-gnu/asm"; do
    ln -s "$folder" kernel/
done
# The log matters only when something fails.
{
    make allnoconfig
    for option in WGET NC NSLOOKUP FEATURE_IPV6 LONG_OPTS LFS; do
        sed -i "s/^# CONFIG_$option is not set/CONFIG_$option=y/" .config
    done
    # `yes` ends by a broken pipe.
    (set +o pipefail; yes '' | make oldconfig)
    make -j2 CC="musl-gcc -idirafter $PWD/kernel" HOSTCC=gcc SKIP_STRIP=y busybox_unstripped
} >log 2>&1 || { tail -n 20 log >&2; exit 1; }
mkdir -p "$(dirname "$target")"
install -m 0755 busybox_unstripped "$target.$$"
mv "$target.$$" "$target"
