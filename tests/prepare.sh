#!/usr/bin/env bash
# Installs the Debian packages that the tests, the demo and the benches use, and only those missing.
# Nothing here starts a service or touches name resolution of the machine itself.
set -euo pipefail
declare -A wanted=(
    [musl-gcc]=musl-tools [unbound]=unbound [ip]=iproute2 [readelf]=binutils
    [gcc]=gcc [unshare]=util-linux [valgrind]=valgrind [openssl]=openssl [python3]=python3 [curl]=curl [strace]=strace [nft]=nftables [dnsperf]=dnsperf [jq]=jq [unzip]=unzip
    # Programs that resolve names, for tests/tests/programs.
    [node]=nodejs [javac]=default-jdk-headless [ruby]=ruby [php]=php-cli [perl]=perl [wget]=wget
    [debootstrap]=debootstrap
    [git]=git [ssh]=openssh-client [psql]=postgresql-client [make]=make [bzip2]=bzip2
)
missing=()
for command in "${!wanted[@]}"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("${wanted[$command]}")
done
# gcc alone brings no C library headers.
[[ -e /usr/include/stdio.h ]] || missing+=(libc6-dev)
install_missing() {
    ((${#missing[@]})) || return 0
    echo "installing from Debian: ${missing[*]}"
    if [[ $(id -u) != 0 ]]; then
        echo "not root: please install them yourself: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
install_missing

# Unpacked into build/unpacked, not installed: servers that Debian would start, a static program, and
# test suites that would bring another version of what is installed.
unpacked=(nginx busybox-static systemd-tests libsystemd-shared libpython3.11-testsuite nats-server)
place=$(cd "$(dirname "$0")/.." && pwd)/build/unpacked
"$(dirname "$0")/tests/programs/busybox-musl.sh" "$place/busybox-musl/busybox"
"$(dirname "$0")/../deploy/image/certificates.sh" "$place/ca-certificates" >/dev/null
absent=()
for package in "${unpacked[@]}"; do
    [[ -d $place/$package ]] || absent+=("$package")
done
((${#absent[@]})) || exit 0
echo "unpacking from Debian: ${absent[*]}"
work=$place/.work.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"
[[ $(id -u) != 0 ]] || apt-get update -qq
for package in "${absent[@]}"; do
    # As root apt warns that it does not change its user for a directory of ours.
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package")
    dpkg -x "$work/$package"_*.deb "$work/$package"
    mv -T "$work/$package" "$place/$package"
done
